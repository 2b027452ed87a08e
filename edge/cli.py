"""The edge's command line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from contracts.shell.cli import Parser, Version, run
from edge.commands import audit, bundles, dashboard, doctor, forget, lab, outbox, record, replay
from edge.commands import run as live


def main(arguments: Sequence[str] | None = None) -> int:
    """`edge`; returns the exit status."""
    return run("edge", _main, arguments)


def command_line() -> Parser:
    """All verbs and their options."""
    parser = Parser(
        prog="edge",
        description="Watch a guest with a signed bundle, and say over MQTT what it is doing.",
        example="edge install gbt-realistic-86ac36ed4e68.bundle --trust keys\n"
        "  edge replay tests/corpus/arm-1/* --broker mqtt://127.0.0.1 --trust keys",
    )
    parser.add_argument("--version", action=Version)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    live.add(commands)
    replay.add(commands)
    bundles.add(commands)
    record.add(commands)
    lab.add(commands)
    doctor.add(commands)
    outbox.add(commands)
    audit.add(commands)
    dashboard.add(commands)
    forget.add(commands)
    return parser


def _main(arguments: Sequence[str]) -> int:
    options = command_line().parse_args(arguments)
    logging.basicConfig(format="edge: %(message)s", level=logging.INFO, stream=sys.stderr)
    status: int = options.work(options)
    return status


if __name__ == "__main__":
    sys.exit(main())
