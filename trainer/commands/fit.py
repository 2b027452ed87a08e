"""`trainer fit`."""

from __future__ import annotations

import argparse
from pathlib import Path

from contracts.files import locked
from trainer.commands.fit_options import add_fit, fit_plan, require_packages
from trainer.commands.options import Commands, add_engine, placed, workers_of


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "fit",
        help="fit models to a dataset",
        description="Split a dataset, and fit every architecture under every threat model to its training side,\n"
        "with early stopping by its validation side. Fits are jobs: one per core, or on a Dask cluster. Started\n"
        "again with the same OUT, finished fits are kept and a killed one goes on where it was. OUT/fits.json says\n"
        "what was fitted to what.",
        example="trainer fit build/dataset --out build/models --quick",
    )
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="what `trainer extract` made, or `write_dataset`")
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="folder for all that is made")
    add_fit(parser)
    add_engine(parser)
    parser.set_defaults(work=_fit)


def _fit(options: argparse.Namespace) -> int:
    plan = fit_plan(options, placed(options, options.out))
    from trainer.dataset.open import open_dataset
    from trainer.fits.plan import require_fit
    from trainer.workers.start import engine

    dataset = open_dataset(placed(options, options.dataset))
    require_fit(dataset, plan)
    require_packages(plan.architectures)
    from trainer.fits.stage import fit_models, split_all

    with locked(plan.out / ".lock"), engine(workers_of(options), options.cluster) as made:
        fits = fit_models(dataset, split_all(dataset, plan), plan, made)
    print(f"{options.out}: {len(fits.jobs)} models; next: trainer evaluate {options.out}")
    return 0
