"""`edge replay`."""

from __future__ import annotations

import argparse
from pathlib import Path

from contracts.bundle.archive import MAX_BUNDLE
from contracts.errors import ConfigError
from contracts.files import read_file
from contracts.shell.owner import become_owner
from contracts.shell.paths import outbox_path, shown
from edge.commands.options import (
    Commands,
    accepted,
    add_broker,
    add_site,
    broker_of,
    hostname,
    node,
    seconds,
    site_of,
    speed,
)


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "replay",
        help="run recorded episodes through a bundle",
        description="Replay recordings: rows arrive in their recorded order and time, windows are extracted as they\n"
        "would be live, and events go through a durable outbox to the broker. With the broker away the events are\n"
        "kept; they are sent when it returns, at the latest by the next replay with the same outbox.\n"
        "Without --bundle the installed one runs, and what is installed meanwhile takes over between two windows.\n"
        "Parts of one live watch (`edge run --tee`), named in order, are replayed as the watch that they were.",
        example="edge replay tests/corpus/arm-1/corpus-1-0011 --bundle B.bundle \\\n"
        "    --broker mqtt://127.0.0.1:1883 --trust keys --speed 20",
    )
    parser.add_argument("episodes", type=Path, nargs="+", metavar="EPISODE", help="folder with an episode.json")
    parser.add_argument("--bundle", type=Path, metavar="B", help="the model (default: what is installed)")
    add_broker(parser)
    parser.add_argument(
        "--speed", type=speed, default="max", metavar="N|max", help="times as fast as recorded (default: max)"
    )
    parser.add_argument("--node", type=node, default=hostname(), help=f"name in topics (default: {hostname()})")
    add_site(parser)
    parser.add_argument("--allow-unsigned", action="store_true", help="run a --bundle that no trusted key signed")
    parser.add_argument(
        "--allow-missing-source", action="store_true", help="replay episodes that lack a source (marked degraded)"
    )
    parser.add_argument("--outbox", type=Path, metavar="FILE", help=f"default: {shown(outbox_path)}")
    parser.add_argument(
        "--drain-timeout", type=seconds, default=10.0, metavar="S", help="how long to wait for the broker at the end"
    )
    parser.set_defaults(work=_replay)


def _replay(options: argparse.Namespace) -> int:
    from edge.deploy.follow import Follower
    from edge.model.models import Fixed, Models
    from edge.model.opened import activate
    from edge.session.replayed import replay_all

    if len({path.resolve() for path in options.episodes}) < len(options.episodes):
        raise ConfigError("EPISODE…", "one is named twice", expected="each once", remedy="name it once")
    broker = broker_of(options)
    outbox = options.outbox or outbox_path()
    data = None if options.bundle is None else read_file(options.bundle, MAX_BUNDLE)
    become_owner(outbox.absolute().parent)
    schema, trust = accepted(options)
    models: Models
    if options.bundle is None:
        models = Follower(site_of(options))
    else:
        models = Fixed(activate(options.bundle, schema, trust, allow_unsigned=options.allow_unsigned, data=data))
    try:
        return replay_all(
            episodes=options.episodes,
            models=models,
            broker=broker,
            schema=schema,
            allow_missing=options.allow_missing_source,
            speed=options.speed,
            node=options.node,
            outbox_path=outbox,
            drain_timeout=options.drain_timeout,
        )
    finally:
        models.close()
