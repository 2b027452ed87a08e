"""Start workers: processes of this machine, or those of a cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor

from trainer.workers.engine import Engine, Here
from trainer.workers.processes import begin, require_interpreter, starting


@contextlib.contextmanager
def engine(workers: int, cluster: str | None = None) -> Iterator[Engine]:
    """`workers` processes on this machine, or the Dask cluster at an address. Raises `ConfigError`, `WorkError`."""
    if cluster is not None:
        from trainer.workers.cluster import joined

        with joined(cluster) as made:
            yield made
        return

    if workers > 1:
        require_interpreter()

    def pool() -> Executor:
        context = multiprocessing.get_context("forkserver")
        with starting():
            return ProcessPoolExecutor(workers, mp_context=context, initializer=begin)

    made = Engine(pool if workers > 1 else Here, workers, (BrokenExecutor,))
    try:
        yield made
    finally:
        made.close()
