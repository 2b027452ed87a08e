"""`trainer split`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from contracts.errors import ConfigError
from contracts.shell.cli import print_json
from trainer.commands.options import Commands, whole


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "split",
        help="divide the episodes into train, validation and test",
        description="Split a dataset by whole episodes: held_out_host (a host never seen), held_out_sample (variants\n"
        "of each profile never seen) or held_out_time (what came later, after an embargo). The validation side is\n"
        "taken from the training side by the same rule. Written as JSON with a digest; the same dataset always splits\n"
        "the same way.",
        example="trainer split build/dataset --recipe held_out_host",
    )
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="what `trainer extract` made")
    parser.add_argument(
        "--recipe", default="held_out_host", metavar="R", help="held_out_host (default), …_sample or …_time"
    )
    parser.add_argument(
        "--held-out", metavar="WHAT", help="a host; profile/sample,…; or a moment such as 2026-11-22T14:00:00Z"
    )
    parser.add_argument(
        "--embargo",
        type=_seconds,
        default=60,
        metavar="S",
        help="held_out_time: seconds between the sides (default: 60)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: DATASET/split-RECIPE.json")
    parser.add_argument("--json", action="store_true", help="print the split as JSON")
    parser.set_defaults(work=_split)


def _seconds(text: str) -> int:
    return whole(text, 0, 10**9)


def _split(options: argparse.Namespace) -> int:
    from trainer.dataset.open import open_dataset
    from trainer.report.tables import print_split
    from trainer.split import make_split, recipe_named, save_split

    recipe = recipe_named(options.recipe, options.embargo)
    dataset = open_dataset(options.dataset)
    split = make_split(dataset, recipe, options.held_out)
    if options.out is None and not options.dataset.is_dir():
        raise ConfigError("--out", "not given", expected="a file, as the dataset is none of ours", remedy="name one")
    out = options.out or options.dataset / f"split-{options.recipe}.json"
    save_split(split, out)
    if options.json:
        print_json(split)
    else:
        print_split(split)
    print(f"trainer: split {split.digest[:12]}… in {out}", file=sys.stderr)
    return 0
