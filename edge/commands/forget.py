"""`edge forget`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from contracts.errors import BrokerError, BusyError
from contracts.text import printable
from edge.commands.options import Commands, add_broker, broker_of, node

if TYPE_CHECKING:
    from edge.deliver.line import Line


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "forget",
        help="clear what a broker retains of a guest or a node that is gone",
        description="A broker keeps a guest's scorecards, a node's availability, and devices of Home Assistant until\n"
        "somebody clears them. An agent that still watches the guest brings them back. A node whose agent runs is\n"
        "refused.",
        example="edge forget pi-1/camera-1 --broker mqtt://127.0.0.1:1883",
    )
    parser.add_argument("what", type=_what, metavar="NODE[/GUEST]", help="as in topics")
    add_broker(parser)
    parser.add_argument("--prefix", default="homeassistant", help="of Home Assistant's topics (default: homeassistant)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be cleared, and clear nothing")
    parser.set_defaults(work=_forget)


def _what(text: str) -> tuple[str, str | None]:
    name, slash, guest = text.partition("/")
    try:
        return node(name), node(guest) if slash else None
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a node nor node/guest") from None


def _forget(options: argparse.Namespace) -> int:
    from edge.deliver.retained import called

    broker = broker_of(options)
    called(broker, lambda line: _clear(line, options))
    return 0


def _clear(line: Line, options: argparse.Namespace) -> None:
    from contracts.events.envelope import availability_topic
    from edge.deliver.retained import clear, retained
    from edge.session.homeassistant import is_device_of

    of_node, guest = options.what
    ours = f"phasewatch/{of_node}" if guest is None else f"phasewatch/{of_node}/{guest}"
    found = retained(line, [f"{ours}/#", f"{options.prefix}/device/+/config"])
    if guest is None and found.get(availability_topic(of_node)) == b"online":
        raise BusyError(ours, "its agent is online", expected="a node that is gone", remedy="stop it, or name a guest")
    topics = sorted(name for name in found if name.startswith("phasewatch/") or is_device_of(name, of_node, guest))
    for name in topics:
        print(printable(name))
    if options.dry_run:
        print(f"{len(topics)} topics would be cleared")
        return
    if refused := clear(line, topics):
        name, why = next(iter(refused.items()))
        raise BrokerError(
            line.url, f"{len(refused)} topics are refused ({name}: {why})", expected="to be let write",
            remedy="let this user write there",
        )  # fmt: skip
    print(f"{len(topics)} topics are cleared")
