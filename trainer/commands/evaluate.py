"""`trainer evaluate`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from contracts.files import locked
from contracts.shell.cli import print_json
from trainer.commands.fit_options import require_packages
from trainer.commands.options import Commands, add_engine, placed, workers_of


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="score fitted models on the episodes that were held out",
        description="Scores with intervals by episode, comparisons corrected for their number, calibration, alarms,\n"
        "what each source and channel is worth, and the leak check, for every recipe that was fitted. Writes\n"
        "OUT/evaluation.json and OUT/predictions/.",
        example="trainer evaluate build/models",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="what `trainer fit` or `trainer build` made")
    add_engine(parser)
    parser.add_argument("--json", action="store_true", help="print the evaluation as JSON")
    parser.set_defaults(work=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    from trainer.fits.record import load_fits
    from trainer.workers.start import engine

    out = placed(options, options.out)
    fits = load_fits(out)
    require_packages({job.architecture for job in fits.jobs})
    from trainer.evaluate.evaluation import evaluate
    from trainer.evaluate.kept import EVALUATION
    from trainer.report.tables import print_evaluation

    with locked(out / ".lock"), engine(workers_of(options), options.cluster) as made:
        evaluation = evaluate(fits, out, made)
    if options.json:
        print_json(evaluation)
    else:
        print_evaluation(evaluation)
    print(f"trainer: {out / EVALUATION}; next: trainer report {options.out}", file=sys.stderr)
    return 0
