"""The trainer's command line: one verb per file of `trainer.commands`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from contracts.shell.cli import Parser, Version, run
from contracts.text import printable
from trainer.commands import (
    build,
    describe,
    diff,
    evaluate,
    explain,
    extract,
    fit,
    inspect,
    judge,
    keygen,
    label,
    report,
    split,
    validate,
)

VERBS = (validate, explain, label, extract, split, describe, fit, evaluate, report, build, inspect, diff, judge, keygen)


def main(arguments: Sequence[str] | None = None) -> int:
    """`trainer`; returns the exit status."""
    return run("trainer", _main, arguments)


def command_line() -> Parser:
    """All verbs and their options."""
    parser = Parser(
        prog="trainer",
        description="From a store of recorded episodes to signed bundles for the edge.",
        example="trainer build tests/corpus --out build/first --quick",
    )
    parser.add_argument("--version", action=Version)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for verb in VERBS:
        verb.add(commands)
    return parser


def _main(arguments: Sequence[str]) -> int:
    options = command_line().parse_args(arguments)
    options.typed = printable(shlex.join(["trainer", *arguments]))
    status: int = options.work(options)
    return status


if __name__ == "__main__":
    sys.exit(main())
