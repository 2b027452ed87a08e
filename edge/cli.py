"""The edge's command line."""

from __future__ import annotations

import argparse
import logging
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from contracts.channels import read_channels
from contracts.cli import Parser, run
from contracts.errors import ConfigError
from contracts.features import feature_schema
from contracts.keys import TrustedKeys, load_trusted_keys
from contracts.paths import outbox_path, trust_folder


def main(arguments: Sequence[str] | None = None) -> int:
    """`edge`; returns the exit status."""
    return run("edge", _main, arguments)


def _main(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="edge",
        description="Watch a guest with a signed bundle, and say over MQTT what it is doing.",
        example="edge replay tests/corpus/lab-q35-2/* --bundle build/demo/bundles/gbt-realistic-*.bundle \\\n"
        "    --broker mqtt://127.0.0.1",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_replay(commands)
    options = parser.parse_args(arguments)
    logging.basicConfig(format="edge: %(message)s", level=logging.INFO, stream=sys.stderr)
    status: int = options.work(options)
    return status


def _add_replay(commands: argparse._SubParsersAction[Parser]) -> None:
    parser = commands.add_parser(
        "replay",
        help="run recorded episodes through a bundle",
        description="Replay recordings: rows arrive in their recorded order and time, windows are extracted as they\n"
        "would be live, and events go through a durable outbox to the broker. With the broker away the events are\n"
        "kept; they are sent when it returns, at the latest by the next replay with the same outbox.",
        example="edge replay tests/corpus/lab-q35-2/lab-q35-2-io-walk-s01 --bundle B.bundle \\\n"
        "    --broker mqtt://127.0.0.1:1883 --trust keys --speed 20",
    )
    parser.add_argument("episodes", type=Path, nargs="+", metavar="EPISODE", help="folder with an episode.json")
    parser.add_argument("--bundle", type=Path, required=True, metavar="B", help="the model")
    parser.add_argument("--broker", required=True, metavar="URL", help="mqtt://[user@]host[:port] or mqtts://…")
    parser.add_argument(
        "--speed", type=_speed, default="max", metavar="N|max", help="times as fast as recorded (default: max)"
    )
    parser.add_argument("--node", type=_node, default=_hostname(), help=f"name in topics (default: {_hostname()})")
    parser.add_argument("--trust", type=Path, metavar="DIR", help=f"folder of trusted keys (default: {trust_folder()})")
    parser.add_argument("--allow-unsigned", action="store_true", help="run a bundle that no trusted key signed")
    parser.add_argument(
        "--allow-missing-source", action="store_true", help="replay episodes that lack a source (marked degraded)"
    )
    parser.add_argument("--channels", type=Path, metavar="FILE", help="a channel registry of your own (TOML)")
    parser.add_argument("--outbox", type=Path, default=outbox_path(), metavar="FILE", help=f"default: {outbox_path()}")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="the broker's password")
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="certificates to trust with mqtts")
    parser.add_argument(
        "--drain-timeout", type=_seconds, default=10.0, metavar="S", help="how long to wait for the broker at the end"
    )
    parser.set_defaults(work=_replay)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0
    if not 0.001 <= speed <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is neither max nor a number from 0.001 to 1000000")
    return speed


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds up to a day")
    return seconds


def _node(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not made of letters, digits, dots, dashes and underscores")
    return text


def _hostname() -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", platform.node().partition(".")[0]).strip("-._")[:64] or "edge"


def _trust(options: argparse.Namespace) -> TrustedKeys | None:
    """Trust that was named must be there; the default folder may be absent."""
    if options.trust is None and not trust_folder().is_dir():
        return None
    return load_trusted_keys(options.trust or trust_folder())


def _replay(options: argparse.Namespace) -> int:
    from edge.broker import parse_broker
    from edge.session import replay_all

    if len({path.resolve() for path in options.episodes}) < len(options.episodes):
        raise ConfigError("EPISODE…", "one is named twice", expected="each once", remedy="name it once")
    return replay_all(
        episodes=options.episodes,
        bundle=options.bundle,
        broker=parse_broker(options.broker, password_file=options.password_file, ca_file=options.ca_file),
        schema=feature_schema(read_channels(options.channels) if options.channels else None),
        trust=_trust(options),
        allow_unsigned=options.allow_unsigned,
        allow_missing=options.allow_missing_source,
        speed=options.speed,
        node=options.node,
        outbox_path=options.outbox,
        drain_timeout=options.drain_timeout,
    )


if __name__ == "__main__":
    sys.exit(main())
