"""What a worker does: one function per kind of job.

Any process may be a worker, so each prepares TensorFlow before anything imports it, and this module imports nothing
that would.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from contracts.errors import WorkError
from trainer.engine import Engine, Lost
from trainer.jobs import Job
from trainer.progress import stage
from trainer.tensorflow import prepare

if TYPE_CHECKING:
    from trainer.compile.prove import Outcome
    from trainer.evaluate.answers import Answers
    from trainer.plan import Search
    from trainer.tune import Tuned

R = TypeVar("R")


def run_all(
    name: str, work: Callable[[Job], R], jobs: Sequence[Job], engine: Engine, words: Callable[[R], str]
) -> dict[str, R]:
    """What `work` makes of every job, by the job's name and in order of `jobs`.

    Raises what the first job that fails raises, and `WorkError` for one that takes its workers down.
    """
    found: dict[str, R] = {}
    with stage(name, len(jobs)) as step:
        for job, outcome in engine.run(work, jobs):
            if isinstance(outcome, Lost):
                raise WorkError(
                    f"{name}: worker for {job.name}",
                    "ended without a word, twice",
                    expected="to live",
                    remedy="look for want of memory, or use fewer --workers",
                )
            found[job.name] = outcome
            step(f"{job.name} {words(outcome)}".rstrip())
    return {job.name: found[job.name] for job in jobs}


def fit(dataset: Path, out: Path) -> Callable[[Job], str]:
    """Fits one model; says how it went."""
    return functools.partial(_fit, dataset=dataset, out=out)


def _fit(job: Job, *, dataset: Path, out: Path) -> str:
    prepare()
    from trainer.fitting import fit_job

    return fit_job(job, dataset, out)


def study(search: Search, dataset: Path, out: Path) -> Callable[[Job], Tuned]:
    """Tries settings for one model."""
    return functools.partial(_study, search=search, dataset=dataset, out=out)


def _study(job: Job, *, search: Search, dataset: Path, out: Path) -> Tuned:
    prepare()
    from trainer.tune import run_study

    return run_study(job, search, dataset, out)


def answer(first_seed: int, dataset: Path, out: Path) -> Callable[[Job], Answers]:
    """Asks one model all that its scores are made of."""
    return functools.partial(_answer, first_seed=first_seed, dataset=dataset, out=out)


def _answer(job: Job, *, first_seed: int, dataset: Path, out: Path) -> Answers:
    prepare()
    from trainer.evaluate.answers import answers_of

    return answers_of(job, first_seed, dataset, out)


def prove(dataset: Path, out: Path, allow_float: bool, compilers: int) -> Callable[[Job], Outcome]:
    """Compiles one model in all its forms, by so many C compilers at a time, and proves them."""
    return functools.partial(_prove, dataset=dataset, out=out, allow_float=allow_float, compilers=compilers)


def _prove(job: Job, *, dataset: Path, out: Path, allow_float: bool, compilers: int) -> Outcome:
    prepare()
    from trainer.compile.prove import prove_job

    return prove_job(job, dataset, out, allow_float, compilers)
