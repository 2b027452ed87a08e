"""Processes of this machine, as workers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import spawn

from contracts.errors import WorkError
from contracts.shell.streams import guard


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """Raises `WorkError` where this user may not run the interpreter, or may start no process more."""
    try:
        yield
    except (OSError, EOFError) as error:
        raise WorkError(
            "workers",
            f"cannot be started ({error or type(error).__name__})",
            expected=f"leave to run {sys.executable}",
            remedy="use --workers 1",
        ) from None


def require_interpreter() -> None:
    """Run it once, before a pool is made: the semaphores of one whose helpers cannot run end in tracebacks."""
    program = os.fsdecode(spawn.get_executable())
    with starting():
        done = subprocess.run([program, "-I", "-S", "-c", ""], check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise OSError(f"{program} ended with status {done.returncode}")


def fault_of(status: int) -> str | None:
    """How a process ended, by its status: less than 0 for a signal. None where nothing was wrong."""
    if status < 0:
        return f"died of {signal.Signals(-status).name}"
    return f"ended with {status}" if status else None


def begin() -> None:
    """Interrupts are left to the parent."""
    guard()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
