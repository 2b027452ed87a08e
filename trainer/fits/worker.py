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
    from trainer.fits.plan import Search
    from trainer.fits.study import Tuned


def fit(dataset: Path, out: Path) -> Callable[[Job], str]:
    """Fits one model; says how it went."""
    return functools.partial(_fit, dataset=dataset, out=out)


def _fit(job: Job, *, dataset: Path, out: Path) -> str:
    prepare_for(job.architecture)
    from trainer.fits.fit_one import fit_job

    return fit_job(job, dataset, out)


def study(search: Search, dataset: Path, out: Path) -> Callable[[Job], Tuned]:
    """Tries settings for one model."""
    return functools.partial(_study, search=search, dataset=dataset, out=out)


def _study(job: Job, *, search: Search, dataset: Path, out: Path) -> Tuned:
    prepare_for(job.architecture)
    from trainer.fits.study import run_study

    return run_study(job, search, dataset, out)
