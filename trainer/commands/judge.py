"""`trainer judge`."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path

from contracts.shell.cli import print_json
from trainer.commands.options import Commands, add_engine, add_store, add_trust, placed, trust_of, workers_of


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "judge",
        help="judge a bundle on recordings that came after it",
        description="Run a bundle over a store of recordings, through the edge's own runtime and alarm, and say how\n"
        "good it was: macro F1, false alarms a clean day, infections found and how soon, each with its interval.\n"
        "Recordings that it was trained on are refused: they say nothing.",
        example="trainer judge build/first/bundles/gbt-realistic-86ac36ed4e68.bundle recordings",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a .bundle file")
    add_store(parser)
    parser.add_argument("--out", type=Path, metavar="DATASET", help="keep the extracted windows here")
    parser.add_argument("--include-learned", action="store_true", help="take recordings that it was trained on, too")
    parser.add_argument("--include-degraded", action="store_true", help="take degraded episodes, too")
    add_trust(parser)
    parser.add_argument("--allow-unsigned", action="store_true", help="take a bundle that no trusted key has signed")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_engine(parser)
    parser.set_defaults(work=_judge)


def _judge(options: argparse.Namespace) -> int:
    from trainer.bundle.judged import in_words, judge_bundle
    from trainer.workers.start import engine

    with contextlib.ExitStack() as stack:
        out = options.out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="phasewatch-")))
        made = stack.enter_context(engine(workers_of(options), options.cluster))
        found = judge_bundle(
            options.bundle,
            placed(options, options.store),
            placed(options, out),
            made,
            trust=trust_of(options),
            allow_unsigned=options.allow_unsigned,
            learned_too=options.include_learned,
            degraded=options.include_degraded,
        )
    if options.json:
        print_json(found)
    else:
        for name, value in in_words(found):
            print(f"{name:<14} {value}".rstrip())
    return 0
