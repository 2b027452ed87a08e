"""Options of `trainer fit` that `trainer build` takes too, and the plan that they make."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import ConfigError
from contracts.shell.cli import Parser
from contracts.vocabulary import THREAT_MODELS, ThreatModel
from trainer.architectures.names import NAMES, unknown
from trainer.commands.options import listed, seed, whole

if TYPE_CHECKING:
    from trainer.fits.plan import FitPlan

ALL = ",".join(NAMES)


def add_fit(parser: Parser) -> None:
    parser.add_argument("--architectures", default=ALL, metavar="A,…", help=f"which models (default: {ALL})")
    parser.add_argument(
        "--threat-models", default="realistic,oracle", metavar="T,…", help="what they see (default: realistic,oracle)"
    )
    parser.add_argument(
        "--recipe",
        default="held_out_host",
        metavar="R,…",
        help="how to split, see `trainer split`; models of the first ship, others are for the report"
        " (default: held_out_host)",
    )
    parser.add_argument("--held-out", metavar="WHAT", help="what to hold out (default: the recipe's own choice)")
    parser.add_argument(
        "--embargo", type=_seconds, default=60, metavar="S", help="held_out_time: seconds between sides (default: 60)"
    )
    parser.add_argument(
        "--seed",
        default="0",
        metavar="N,…",
        help="the same seed gives the same models; the first ships, more show how far scores vary (default: 0)",
    )
    parser.add_argument("--quick", action="store_true", help="shorter fits, for a first look")
    parser.add_argument(
        "--tune", type=_trials, metavar="N", help="try N settings per model, judged by the validation side alone"
    )
    parser.add_argument(
        "--max-kb", type=_budget, default=150, metavar="N", help="--tune: the largest artifact (default: 150 kB)"
    )
    parser.add_argument(
        "--max-mops",
        type=_budget,
        default=5,
        metavar="N",
        help="--tune: million multiplications a window, about a millisecond each on a Pi 4 (default: 5)",
    )


def _seconds(text: str) -> int:
    return whole(text, 0, 10**9)


def _trials(text: str) -> int:
    return whole(text, 1, 10_000)


def _budget(text: str) -> int:
    return whole(text, 1, 10**6)


def fit_plan(options: argparse.Namespace, out: Path) -> FitPlan:
    """Raises `ConfigError` for what is not there."""
    from trainer.fits.plan import FitPlan, Search
    from trainer.split import recipe_named

    recipes = tuple(recipe_named(name, options.embargo) for name in listed(options.recipe))
    if options.held_out is not None and len(recipes) > 1:
        raise ConfigError(
            "--held-out", f"one thing for {len(recipes)} recipes", expected="one recipe", remedy="name one, or neither"
        )
    architectures = tuple(listed(options.architectures))
    for name in architectures:
        if name not in NAMES:
            raise unknown(name)
    try:
        seeds = tuple(seed(text) for text in listed(options.seed))
    except argparse.ArgumentTypeError as error:
        raise ConfigError("--seed", str(error), expected="whole numbers between commas", remedy="correct it") from None
    return FitPlan(
        out=out,
        architectures=architectures,
        threat_models=threat_models_named(options.threat_models),
        recipes=recipes,
        held_out=options.held_out,
        seeds=seeds,
        quick=options.quick,
        search=Search(trials=options.tune, max_bytes=options.max_kb * 1000, max_operations=options.max_mops * 10**6)
        if options.tune
        else None,
        command=options.typed,
    )


def threat_models_named(text: str) -> tuple[ThreatModel, ...]:
    """Raises `ConfigError`."""
    known = {str(model): model for model in THREAT_MODELS}
    for name in listed(text):
        if name not in known:
            raise ConfigError(
                "--threat-models", f"no threat model {name!r}", expected=", ".join(known), remedy="name those"
            )
    return tuple(known[name] for name in listed(text))


def require_packages(architectures: Collection[str]) -> None:
    """What fits them is loaded where it is needed, by workers; here only whether it is installed.

    Raises `ConfigError`.
    """
    wanted = {"xgboost"} if set(architectures) == {"gbt"} else {"xgboost", "tensorflow", "keras"}
    for name in sorted(wanted):
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                "trainer",
                f"no package {name}",
                expected="the trainer's packages",
                remedy="install phasewatch[trainer]",
            )
