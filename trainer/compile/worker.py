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
    from trainer.compile.prove import Outcome


def prove(dataset: Path, out: Path, allow_float: bool, compilers: int) -> Callable[[Job], Outcome]:
    """Compiles one model in all its forms, by so many C compilers at a time, and proves them."""
    return functools.partial(_prove, dataset=dataset, out=out, allow_float=allow_float, compilers=compilers)


def _prove(job: Job, *, dataset: Path, out: Path, allow_float: bool, compilers: int) -> Outcome:
    prepare_for(job.architecture)
    from trainer.compile.prove import prove_job

    return prove_job(job, dataset, out, allow_float, compilers)
