"""`trainer inspect`."""

from __future__ import annotations

import argparse
from pathlib import Path

from contracts.shell.cli import print_json
from trainer.commands.options import Commands, add_trust, read_to_show, trust_of


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "inspect",
        help="show what is in a bundle",
        description="Check a bundle (every digest, and the signature where its key is trusted here) and show what it "
        "says of\n"
        "itself: model, artifacts, what it was made from, and how good it is. Bundles of any feature schema can be\n"
        "looked at. One without a trusted signature, or with a revoked key, is shown too, and marked.",
        example="trainer inspect build/first/bundles/gbt-realistic-86ac36ed4e68.bundle",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a .bundle file")
    add_trust(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(work=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    from trainer.bundle.inspection import in_words, inspected

    bundle, signed_by = read_to_show(options.bundle, trust_of(options))
    found = inspected(bundle)
    if options.json:
        print_json(found)
    else:
        for name, value in in_words(found, signed_by):
            print(f"{name:<14} {value}".rstrip())
    return 0
