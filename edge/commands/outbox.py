"""`edge outbox`: what the broker refused, and what becomes of it."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from contracts.events.envelope import rfc3339
from contracts.shell.cli import print_json
from contracts.shell.paths import outbox_path, shown
from contracts.text import printable
from edge.commands.options import Commands


class Listed(msgspec.Struct, kw_only=True):
    """One event, as `edge outbox list --json` prints it."""

    topic: str
    why: str
    since: str
    bytes: int


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "outbox",
        help="what the broker refused: list it, send it again, or drop it",
        description="An event that the broker refused three times (not allowed, too large) is set aside with the\n"
        "reason, and the rest goes on. `list` shows what was set aside; once the broker's rules are mended, `resend`\n"
        "puts all of it back into the queue, and the next run sends it; `drop` forgets it. No agent may run with that\n"
        "outbox.",
        example="edge outbox list --outbox /var/lib/phasewatch/outbox.sqlite",
    )
    parser.add_argument("what", choices=("list", "resend", "drop"))
    parser.add_argument("--outbox", type=Path, metavar="FILE", help=f"default: {shown(outbox_path)}")
    parser.add_argument("--json", action="store_true", help="list for a program to read")
    parser.set_defaults(work=_outbox)


def _outbox(options: argparse.Namespace) -> int:
    from contracts.errors import MissingError
    from contracts.shell.owner import become_owner
    from edge.deliver.outbox import opened

    path = options.outbox or outbox_path()
    if not path.is_file():
        raise MissingError(path, "no such file", expected="an outbox", remedy="name it with --outbox")
    become_owner(path.absolute().parent)
    with opened(path) as outbox:
        if options.what == "resend":
            print(f"{outbox.resend()} events go to the end of the queue, {outbox.depth} wait")
        elif options.what == "drop":
            print(f"{outbox.drop_aside()} events are forgotten")
        else:
            found = [
                Listed(topic=one.topic, why=one.why, since=rfc3339(one.since_ns), bytes=one.size)
                for one in outbox.aside()
            ]
            if options.json:
                print_json(found)
            else:
                for one in found:
                    print(f"{one.since}  {printable(one.topic)}  {one.bytes} bytes: {printable(one.why)}")
                print(f"{len(found)} events are set aside, {outbox.depth} wait for the broker")
    return 0
