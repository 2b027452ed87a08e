"""What a worker does here.

Any process may be one, so TensorFlow is prepared before anything imports it, and this module imports nothing
that would.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.fits.job import Job
from trainer.workers.tensorflow_ready import prepare_for

if TYPE_CHECKING:
    from trainer.evaluate.answers import Answers


def answer(first_seed: int, dataset: Path, out: Path) -> Callable[[Job], Answers]:
    """Asks one model all that its scores are made of."""
    return functools.partial(_answer, first_seed=first_seed, dataset=dataset, out=out)


def _answer(job: Job, *, first_seed: int, dataset: Path, out: Path) -> Answers:
    prepare_for(job.architecture)
    from trainer.evaluate.answers import answers_of

    return answers_of(job, first_seed, dataset, out)
