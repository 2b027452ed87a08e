"""`trainer validate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from contracts.shell.cli import print_json
from trainer.commands.options import Commands, add_engine, add_store, placed, workers_of


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "validate",
        help="sweep a store: which episodes can be used, and why not the others",
        description="Read every episode of a store and give it a verdict: accepted, degraded, rejected or errored,\n"
        "with reason codes (docs/reasons.md). The index is one Parquet file, a row per episode. A sweep that was\n"
        "stopped goes on where it was; episodes that have not changed since the last one are not read again.\n"
        "Exit status: 0 all can be used, 1 some were rejected or could not be read.",
        example="trainer validate tests/corpus --out build/index.parquet",
    )
    add_store(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="the index (default: STORE/index.parquet)")
    parser.add_argument("--full", action="store_true", help="read every episode again, changed or not")
    add_engine(parser)
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.set_defaults(work=_validate)


def _validate(options: argparse.Namespace) -> int:
    from trainer.sweep.explain import print_census
    from trainer.sweep.sweep import Sweep, sweep
    from trainer.workers.progress import say
    from trainer.workers.start import engine

    out = options.out or options.store / "index.parquet"
    plan = Sweep(store=placed(options, options.store), out=out, full=options.full)
    with engine(workers_of(options), options.cluster) as made:
        census = sweep(plan, made)
    if options.json:
        print_json(census)
    else:
        print_census(census)
    say(f"index: {out}")
    return 1 if census.verdicts["rejected"] or census.verdicts["errored"] else 0
