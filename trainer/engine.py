"""Where work runs: one seam, `concurrent.futures.Executor`."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from contracts.errors import WorkError

A = TypeVar("A")
R = TypeVar("R")


def processes(workers: int) -> Executor | None:
    """A pool of processes on this machine, or None to work in this one."""
    if workers <= 1:
        return None
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("forkserver"))


def ordered_map(work: Callable[[A], R], items: Iterable[A], workers: int) -> Iterator[R]:
    """Results in the order of `items`, whatever ran where: the outcome does not depend on `workers`."""
    pool = processes(workers)
    if pool is None:
        yield from map(work, items)
        return
    with pool:
        try:
            yield from pool.map(work, items)
        except BrokenProcessPool:
            raise WorkError(
                "worker",
                "ended without a word",
                expected="to live",
                remedy="look for want of memory, or use --workers 1",
            ) from None
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
