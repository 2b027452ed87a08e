"""A bundle's first try in a process of its own: native code that crashes or hangs takes only that process with it."""

from __future__ import annotations

import contextlib
import faulthandler
import math
import os
import signal
import threading
import time
from collections.abc import Iterator

from contracts.errors import BundleError
from edge.deploy.deployment import Installed
from edge.deploy.verbs import Site

HANGS_S = 60.0
"""Opening and self-testing take milliseconds; on a Pi under load, seconds."""


def tried_apart(site: Site, installed: Installed) -> None:
    """Verify, open and self-test in a child. Raises `BundleError` if it dies or hangs; what it refuses, the child says.

    The caller opens it again and meets the same refusal as an error of its own. Forks: call it before any thread runs.
    """
    child = os.fork()
    if child == 0:
        # whatever happens: it ends here, and does not clean up for its parent; a hang by the alarm, if not before
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(math.ceil(HANGS_S) + 1)
        try:
            site.active(installed)
        except BaseException:
            os._exit(1)
        os._exit(0)
    until = time.monotonic() + HANGS_S
    status = None
    try:
        while status is None:
            done, found = os.waitpid(child, os.WNOHANG)
            if done:
                status = found
            elif time.monotonic() > until:
                raise _refusal(installed, f"its self-test hangs for {HANGS_S:.0f} s")
            else:
                time.sleep(0.005)
    finally:
        if status is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise _refusal(installed, f"its self-test died of {signal.Signals(os.WTERMSIG(status)).name}")


def _refusal(installed: Installed, found: str) -> BundleError:
    return BundleError(
        f"bundle {installed.name}", found, expected="its golden vectors to come out", remedy="build it again"
    )


_deadlines: dict[int, float] = {}
_lock = threading.Lock()


@contextlib.contextmanager
def ended_if_it_hangs(seconds: float) -> Iterator[None]:
    """End this process, with status 1 and a traceback, if the block takes longer; native code can be left no other way.

    An agent's next start counts that. Any thread may use it: there is one timer, and it is set to what is due first.
    """
    me = threading.get_ident()
    with _lock:
        _deadlines[me] = time.monotonic() + seconds
        _set_timer()
    try:
        yield
    finally:
        with _lock:
            del _deadlines[me]
            _set_timer()


def _set_timer() -> None:
    faulthandler.cancel_dump_traceback_later()
    if _deadlines:
        faulthandler.dump_traceback_later(max(0.01, min(_deadlines.values()) - time.monotonic()), exit=True)
