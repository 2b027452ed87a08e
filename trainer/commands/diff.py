"""`trainer diff`."""

from __future__ import annotations

import argparse
from pathlib import Path

from contracts.shell.cli import print_json
from trainer.commands.options import Commands, add_trust, read_to_show, trust_of


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "diff",
        help="say what changed between two bundles",
        description="Compare the scores of two bundles in pairs, on the held-out episodes that both were judged on,\n"
        "and list what else is not the same: form, size, thresholds, data, versions.",
        example="trainer diff build/first/bundles/gbt-realistic-*.bundle build/second/bundles/gbt-realistic-*.bundle",
    )
    parser.add_argument("first", type=Path, metavar="A", help="a .bundle file")
    parser.add_argument("second", type=Path, metavar="B", help="another")
    add_trust(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(work=_diff)


def _diff(options: argparse.Namespace) -> int:
    from trainer.bundle.diff import differ, in_words

    trust = trust_of(options)
    (first, _), (second, _) = (read_to_show(path, trust) for path in (options.first, options.second))
    found = differ(first, second)
    if options.json:
        print_json(found)
    else:
        for line in in_words(found):
            print(line)
    return 0
