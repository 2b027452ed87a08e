"""Standard streams that end no command: any encoding will do, they may be closed, and their readers may go away."""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

from contracts.errors import StorageError
from contracts.text import replaced

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_HANDLER = "phasewatch"
codecs.register_error(_HANDLER, replaced)


class _Stream(io.FileIO):
    """Standard output or error. What is written once its reader has gone goes nowhere, and the work goes on.

    Any other failure is a fault of standard output, whose words are wanted; what cannot be said on standard error is
    not said.
    """

    def __init__(self, number: int, *, wanted: bool) -> None:
        super().__init__(number, "wb", closefd=False)
        self._wanted = wanted

    def write(self, data: ReadableBuffer, /) -> int:
        """Raises `StorageError`."""
        done: int | None = None
        while done is None:  # somebody who shares this terminal has made it non-blocking
            try:
                done = super().write(data)
            except OSError as error:
                self._lead_nowhere()
                if self._wanted and error.errno != errno.EPIPE:
                    raise StorageError(
                        "standard output",
                        f"cannot be written ({error.strerror})",
                        expected="room for what is said",
                        remedy="free some space, or send it elsewhere",
                    ) from None
                done = memoryview(data).nbytes
            if done is None:
                select.select((), (self.fileno(),), ())
        return done

    def _lead_nowhere(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def guard() -> None:
    """Guard this process's standard streams. One that a caller has replaced is left alone."""
    for number, stream in enumerate((sys.__stdin__, sys.__stdout__, sys.__stderr__)):
        if stream is None:
            _reopen(number)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _guarded(sys.stdout, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _guarded(sys.stderr, 2)


def _reopen(number: int) -> None:
    """A stream that was closed goes nowhere; its number must not fall to the next file that is opened."""
    try:
        os.fstat(number)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free: this one


def _guarded(stream: TextIO | None, number: int) -> TextIO:
    if stream is not None:
        stream.flush()
    unbuffered = getattr(stream, "write_through", False)
    return io.TextIOWrapper(
        io.BufferedWriter(_Stream(number, wanted=number == 1)),
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors=_HANDLER,
        line_buffering=getattr(stream, "line_buffering", False) or unbuffered,
    )
