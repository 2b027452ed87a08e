"""`trainer report`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from trainer.commands.options import Commands


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "report",
        help="make the report of an evaluation",
        description="One self-contained HTML page, and the same figures as one JSON file. Nothing is measured again:\n"
        "`trainer evaluate` does that.",
        example="trainer report build/models && xdg-open build/models/report.html",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="what `trainer evaluate` or `trainer build` made")
    parser.set_defaults(work=_report)


def _report(options: argparse.Namespace) -> int:
    from trainer.compile.compilation import load_compilations
    from trainer.evaluate.kept import load_evaluation

    evaluation, compilations = load_evaluation(options.out), load_compilations(options.out)
    from trainer.report.page import write_report  # matplotlib makes caches in the home as it is loaded

    page = write_report(evaluation, compilations, options.out)
    print(f"trainer: {page} and {page.with_suffix('.json')}", file=sys.stderr)
    return 0
