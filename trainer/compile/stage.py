"""The stage of a build: every model compiled and proven, on all workers."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

from contracts.bundle.filter import Filter
from trainer.compile.compilation import Compilations, save_compilations
from trainer.compile.forests import compilers_each
from trainer.compile.prove import Outcome, Proven
from trainer.compile.worker import prove
from trainer.fits.record import Fits
from trainer.workers.engine import Engine
from trainer.workers.progress import say
from trainer.workers.run import run_all


def prove_all(
    fits: Fits, recipe: str, dataset: Path, out: Path, engine: Engine, *, allow_float: bool
) -> tuple[list[Proven], Compilations]:
    """All models of which a candidate may ship, and what `candidates.json` now holds."""
    jobs = fits.wanted(recipe)
    compilers = compilers_each(engine.width, sum(job.architecture == "gbt" for job in jobs))
    work = prove(dataset, out, allow_float, compilers)
    outcomes = run_all("compile and prove", work, jobs, engine, _in_words)
    found = Compilations(
        fits=fits.digest,
        machine=platform.machine(),
        models=tuple(outcomes[job.name].compilation for job in jobs),
    )
    save_compilations(found, out)
    for one in found.models:
        for line in (*([f"is refused: {one.refused}"] if one.refused else []), *one.notes):
            say(f"{one.title} {line}")
    proven = [shipped for job in jobs if (shipped := outcomes[job.name].proven) is not None]
    for line in _budgets([one.filter for one in proven if one.filter is not None]):
        say(line)
    return proven, found


def _budgets(filters: list[Filter]) -> Iterator[str]:
    """What the alarms were set for, and whether the validation side is large enough to say so."""
    if not filters:
        return
    budget, hours = filters[0].budget_per_day, filters[0].clean_hours
    supported = [one.supported_per_day for one in filters if one.supported_per_day is not None]
    if not supported:
        yield f"alarms are set for {budget:g} false a clean day; the validation side has no clean hour to ask"
    elif min(supported) > budget:
        yield (
            f"alarms are set for {budget:g} false a clean day; the {hours:.2f} clean hours of the validation side can "
            f"support a budget of {min(supported):.0f} at best"
        )


def _in_words(outcome: Outcome) -> str:
    one = outcome.proven
    return "refused" if one is None else f"{one.candidate.form}, {one.candidate.size / 1000:.0f} kB"
