"""One piece of work in a process of its own, which may die or hang, and begins at once: it is forked from a process
that has loaded TensorFlow and done nothing else. To load it takes longer than most of what is done with it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from trainer.workers.processes import fault_of, starting

A = TypeVar("A")


def run_forked(
    work: Callable[[A], None], given: A, limit_s: float, log: Path, modules: Sequence[str] = ()
) -> str | None:
    """None where it came to its end, or how it ended; after `limit_s` seconds it is killed.

    log: a file for what it says. modules: loaded beforehand besides; the first call decides, and none may start a
    thread that a fork would lose (docs/adr/0047). Raises `WorkError` where no process can be started.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainer.workers.tensorflow_loaded", *modules])
    process = context.Process(target=_begin, args=(work, given, log))
    with starting():
        process.start()
    process.join(limit_s)
    if process.is_alive():
        process.kill()
        process.join()
        return f"took over {limit_s:.0f} s"
    return fault_of(process.exitcode or 0)


def _begin(work: Callable[[A], None], given: A, log: Path) -> None:
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    work(given)
