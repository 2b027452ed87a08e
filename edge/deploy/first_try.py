"""A bundle's first try in a process of its own: native code that crashes or hangs takes only that process with it."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
from collections.abc import Callable

from contracts.errors import BundleError

OPENING_HANGS_S = 60.0
"""Opening and self-testing take milliseconds; on a Pi under load, seconds."""


def tried_apart(where: object, work: Callable[[], object]) -> None:
    """Do what opens a bundle in a child. Raises `BundleError` if that dies or hangs; what it raises, the child keeps.

    The caller does it again and meets the same refusal as an error of its own. Forks: call it before any thread runs.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        # whatever happens: it ends here, and does not clean up for its parent; a hang by the alarm, if not before
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(math.ceil(OPENING_HANGS_S) + 1)
        try:
            with contextlib.suppress(BaseException):
                work()
            os.write(writer, b".")
        finally:
            os._exit(0)
    os.close(writer)
    told = None
    try:
        waiting = select.poll()
        waiting.register(reader, select.POLLIN)
        if waiting.poll(OPENING_HANGS_S * 1000):
            told = os.read(reader, 1)  # nothing: it ended before it came back from the bundle, be it by exit(0)
    finally:
        os.close(reader)
        if told is None:
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if told is None:
        raise _refusal(where, f"its self-test hangs for {OPENING_HANGS_S:.0f} s")
    if not told and status < 0:
        raise _refusal(where, f"its self-test died of {signal.Signals(-status).name}")
    if not told:
        raise _refusal(where, f"its self-test ended its process with status {status}")


def _refusal(where: object, found: str) -> BundleError:
    return BundleError(where, found, expected="its golden vectors to come out", remedy="build it again")
