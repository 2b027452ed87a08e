"""`trainer describe`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from contracts.shell.cli import print_json
from contracts.text import printable
from trainer.commands.options import Commands


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "describe",
        help="say what is in a dataset",
        description="Windows by phase, profile and host; the observed share of every channel; distributions, and how\n"
        "far each host has drifted from the others (population stability index); and what the phase could be told by\n"
        "that says nothing of the guest: the time since the start, the order of the phases, channels that creep, each\n"
        "alone, on hosts not learned from. Tables here, and a page of plots.",
        example="trainer describe build/dataset && xdg-open build/dataset/description.html",
    )
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="what `trainer extract` made")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page (default: DATASET/description.html)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, and write no page")
    parser.set_defaults(work=_describe)


def _describe(options: argparse.Namespace) -> int:
    from trainer.dataset.describe import describe
    from trainer.dataset.folder import MANIFEST, read_dataset_manifest
    from trainer.dataset.open import open_dataset
    from trainer.evaluate.alone import judge

    dataset = open_dataset(options.dataset)
    description = describe(dataset)
    judgement = judge(dataset)
    if options.json:
        print_json({**msgspec.to_builtins(description), "judgement": judgement})
        return 0
    from trainer.report.description import print_description, print_judgement, write_page

    native = (options.dataset / MANIFEST).exists()
    left_out = read_dataset_manifest(options.dataset).left_out if native else {}
    folder = options.dataset if options.dataset.is_dir() else options.dataset.parent
    out = options.out or folder / "description.html"
    print_description(description)
    print_judgement(judgement)
    write_page(out, description, judgement, dataset.schema, left_out, printable(options.dataset.name))
    print(f"trainer: page: {out}", file=sys.stderr)
    return 0
