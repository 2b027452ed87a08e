"""Jobs of one kind on all workers, with progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from contracts.errors import WorkError
from trainer.workers.engine import Engine, Lost
from trainer.workers.progress import stage


class Named(Protocol):
    """A job: anything that is told apart by its name."""

    @property
    def name(self) -> str: ...


J = TypeVar("J", bound=Named)
R = TypeVar("R")


def run_all(
    name: str, work: Callable[[J], R], jobs: Sequence[J], engine: Engine, words: Callable[[R], str]
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
