"""Where work runs: one seam, `concurrent.futures.Executor`.

Processes on this machine, or a Dask cluster that somebody started. Results come as they are finished; what a result is
does not depend on where it was made.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    wait,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from contracts.errors import ConfigError, WorkError
from contracts.files import write_file
from trainer.workers.processes import starting

A = TypeVar("A")
R = TypeVar("R")
IN_FLIGHT = 3
"""Tasks handed out per worker before the first one is back: memory does not grow with the number of tasks."""
ALONE = 2
"""Tries that a task gets alone, once a worker has died with it in hand."""


@dataclass(frozen=True)
class Lost(Generic[A]):
    """A task whose worker died each time it was tried alone."""

    item: A


class Here(Executor):
    """This very process: one worker, nothing to start."""

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def] # the base class is generic in ParamSpec
        """Runs it at once."""
        future: Future[object] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Engine:
    """Runs tasks on an executor that can be made anew when a worker takes it down."""

    def __init__(
        self,
        make: Callable[[], Executor],
        width: int,
        deaths: tuple[type[BaseException], ...],
        everywhere: Callable[..., dict[str, Any]] | None = None,
    ) -> None:
        """width: how many workers there are; deaths: what the executor raises when one dies; everywhere: call a
        function once on each worker that may be on another machine, worker -> result."""
        self.width = width
        self._everywhere = everywhere
        self._make, self._deaths = make, deaths
        self._ahead = 1 if make is Here else width * IN_FLIGHT
        self._executor = make()

    def run(self, work: Callable[[A], R], items: Iterable[A]) -> Iterator[tuple[A, R | Lost[A]]]:
        """Each item with its result, in the order in which they are finished. What `work` raises is raised here."""
        source, waiting = iter(items), dict[Future[R], A]()
        while True:
            orphans = []
            for item in source:
                try:
                    waiting[self._submit(work, item)] = item
                except self._deaths:  # it broke while somebody looked at an earlier result
                    orphans.append(item)
                if orphans or len(waiting) >= self._ahead:
                    break
            if not waiting and not orphans:
                return
            done = wait(waiting, return_when=FIRST_COMPLETED).done if not orphans else ()
            for future in done:
                item = waiting.pop(future)
                try:
                    result = future.result()
                except self._deaths:
                    orphans.append(item)
                except CancelledError:
                    raise WorkError(
                        "the engine", "gave the work up", expected="an answer", remedy="see whether its scheduler lives"
                    ) from None
                else:
                    yield item, result
            if orphans:  # a broken pool takes all that was handed out with it; one of them did it
                orphans += waiting.values()
                waiting.clear()
                self._renew()
                for item in orphans:
                    yield item, self._alone(work, item)

    def _submit(self, work: Callable[[A], R], item: A) -> Future[R]:
        with starting():  # a process is started when there is something to do
            return self._executor.submit(work, item)

    def _alone(self, work: Callable[[A], R], item: A) -> R | Lost[A]:
        for _ in range(ALONE):
            try:
                return self._submit(work, item).result()
            except self._deaths:
                self._renew()
        return Lost(item)

    def _renew(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = self._make()

    def require_shared(self, folder: Path, *, written: bool) -> None:
        """Refuse a folder that some worker does not see, or (`written`) of which it sees another one.

        Raises `ConfigError`, `StorageError`.
        """
        if self._everywhere is None:
            return
        token = folder / f".shared-{secrets.token_hex(8)}" if written else folder
        if written:
            write_file(token, b"")
        try:
            answers = self._everywhere(_sees, str(token.absolute()))
        finally:
            if written:
                token.unlink(missing_ok=True)
        for worker, sees in answers.items():
            if not sees:
                raise ConfigError(
                    folder,
                    f"worker {worker} does not see it",
                    expected="storage that every worker shares",
                    remedy="mount it there, under the same path",
                )

    def close(self) -> None:
        """Nothing more is begun; what runs is waited for."""
        self._executor.shutdown(wait=True, cancel_futures=True)


def _sees(path: str) -> bool:
    return Path(path).exists()


def speaks() -> str:
    """What a worker runs."""
    from trainer.versions import EVERYTHING, code_digest

    return f"code {code_digest(*EVERYTHING)[:12]}…"
