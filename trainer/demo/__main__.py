"""`make demo`: from real recordings to six events, in a few minutes.

    python -m trainer.demo --store tests/corpus --out build/demo

Builds bundles, starts a broker, replays one held-out recording per profile through the best realistic bundle, shows the
events as a subscriber receives them, and ends with status 0 if all six kinds arrived.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from contracts.bundle.keys import generate_key
from contracts.errors import ConfigError, RowError, WorkError
from contracts.events.envelope import EVENT_KINDS, decode_event
from contracts.shell.broker import Broker, parse_broker
from contracts.shell.cli import Parser, run
from trainer.demo.dashboard import dashboard, leave_open
from trainer.demo.embedded_broker import local_broker
from trainer.demo.listener import Listener
from trainer.demo.screen import Screen
from trainer.demo.story import worth_seeing

NODE = "demo"


class _Entry(msgspec.Struct):
    bundle: str
    threat_model: str


class _Index(msgspec.Struct):
    """What the demo needs of the trainer's index.json."""

    held_out: tuple[str, ...]
    bundles: tuple[_Entry, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    return run("demo", _main, arguments)


def command_line() -> Parser:
    """Its options."""
    parser = Parser(
        prog="python -m trainer.demo",
        description="Train on real recordings, replay held-out ones, and watch the events arrive.",
        example="make demo MOSQUITTO=/usr/sbin/mosquitto SPEED=20",
    )
    parser.add_argument("--store", type=Path, default=Path("tests/corpus"), help="recorded episodes")
    parser.add_argument("--out", type=Path, default=Path("build/demo"), help="folder for all that is made")
    parser.add_argument(
        "--speed", type=_speed, default="40", metavar="N|max", help="times as fast as recorded (default: 40)"
    )
    parser.add_argument("--again", action="store_true", help="train nothing: use what an earlier demo left in OUT")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--broker", metavar="URL", help="a broker that runs already (default: an embedded one)")
    where.add_argument("--mosquitto", type=Path, metavar="PROGRAM", help="start this mosquitto instead")
    return parser


def _main(arguments: Sequence[str]) -> int:
    options = command_line().parse_args(arguments)
    # what would only be noticed after the training is looked at before it
    if options.broker is not None:
        parse_broker(options.broker)
    if options.mosquitto is not None and shutil.which(options.mosquitto) is None:
        raise ConfigError("--mosquitto", f"no program {options.mosquitto}", expected="mosquitto", remedy="install it")
    console = Console(highlight=False)
    out: Path = options.out
    if options.again and not (out / "index.json").exists():
        raise ConfigError("--again", f"nothing in {out}", expected="what a demo left", remedy="leave --again out")
    key = _key(out / "keys")
    if not options.again:
        _heading(console, "1. Train: gbt and cnn, each under both threat models, one host held out")
        command = ["trainer.cli", "build", str(options.store), "--out", str(out), "--quick", "--key", str(key)]
        command += ["--architectures", "gbt,cnn"]
        _run(command, "the build")
    index = msgspec.json.decode((out / "index.json").read_bytes(), type=_Index)
    realistic = (entry for entry in index.bundles if entry.threat_model == "realistic")
    best = next(realistic, index.bundles[0])
    episodes = worth_seeing(options.store, index.held_out)

    _heading(console, f"2. Replay {len(episodes)} recordings of held-out {index.held_out[0]}, as a subscriber sees it")
    with _broker(options.broker, options.mosquitto, out) as broker:
        where = ["--broker", options.broker or broker.url]
        if options.broker is None and options.mosquitto is None:
            where += ["--mqtt-version", "3.1.1"]  # all that amqtt speaks; it would be found out, in four seconds
        with dashboard(where, out, console) as address:
            listener = Listener(broker, NODE)
            screen = Screen(console)
            command = ["edge.cli", "replay", *map(str, episodes), "--bundle", str(out / best.bundle)]
            command += [*where, "--node", NODE, "--trust", str(key.parent)]
            command += ["--speed", options.speed, "--outbox", str(out / "outbox.sqlite")]
            with subprocess.Popen([sys.executable, "-m", *command]) as agent:
                try:
                    while agent.poll() is None:
                        _show(screen, listener, 0.2)
                    _show(screen, listener, 1.0)
                finally:
                    agent.terminate()  # does nothing to one that has ended
                    listener.close()
            status = _summary(console, screen, out, agent.returncode)
            leave_open(address, console)
    return status


def _speed(text: str) -> str:
    if not re.fullmatch(r"max|[1-9]\d{0,4}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is neither max nor a whole number up to 99999")
    return text


def _show(screen: Screen, listener: Listener, seconds: float) -> None:
    for topic, payload in listener.heard(seconds):
        name = topic.rpartition("/")[2]
        if name == "availability":
            screen.show_availability(payload.decode(errors="replace"))
        elif name != "session" and payload:  # an empty payload clears what was retained
            try:
                screen.show(name, decode_event(payload, topic))
            except RowError as error:  # anybody may speak on a broker
                screen.note(str(error))


def _summary(console: Console, screen: Screen, out: Path, status: int) -> int:
    _heading(console, "3. What was seen")
    for kind in EVENT_KINDS:
        console.print(f"  {kind.name:<10} {screen.seen[kind.name]:>5} events", soft_wrap=True)
    console.print(f"  {screen.repeated} repeated under their id; the agent was {' -> '.join(screen.availability)}")
    console.print(f"  decided as the labels say: {screen.agreed} of {screen.judged} windows", soft_wrap=True)
    console.print(f"  bundles, best first: {out / 'index.json'} and {out / 'bundles'}", soft_wrap=True)
    absent = [kind.name for kind in EVENT_KINDS if not screen.seen[kind.name]]
    if absent or status:
        found = f"no {', '.join(absent)} event" if absent else f"the agent ended with status {status}"
        raise WorkError("demo", found, expected="all six kinds of event", remedy=f"see above, and {out / 'broker.log'}")
    return 0


@contextlib.contextmanager
def _broker(url: str | None, mosquitto: Path | None, out: Path) -> Iterator[Broker]:
    if url is not None:
        yield parse_broker(url)
        return
    with local_broker(mosquitto, out) as address:
        yield parse_broker(address)


def _key(folder: Path) -> Path:
    key = folder / "demo.key"
    if not key.exists():
        generate_key(key)
    return key


def _run(command: list[str], what: str) -> None:
    status = subprocess.run([sys.executable, "-m", *command], check=False).returncode
    if status:
        raise WorkError("demo", f"{what} ended with status {status}", expected="0", remedy="see above")


def _heading(console: Console, text: str) -> None:
    console.print(f"\n{text}\n{'=' * len(text)}", style="bold", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
