"""A bundle's first try in a process of its own: native code that crashes or hangs takes only that process with it."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import time
from collections.abc import Iterator

from contracts.errors import BundleError, PhasewatchError
from edge.deploy.deployment import Installed
from edge.deploy.verbs import Site

HANGS_S = 60.0
"""A self-test takes milliseconds; on a Pi under load, seconds."""


def tried_apart(site: Site, installed: Installed) -> None:
    """Verify, open and self-test in a child. Raises `BundleError` if it dies or hangs; what it refuses, the child says.

    The caller opens it again and meets the same refusal as an error of its own. Forks: call it before any thread runs.
    """
    child = os.fork()
    if child == 0:
        try:
            site.active(installed)
        except PhasewatchError:
            os._exit(1)
        os._exit(0)
    until = time.monotonic() + HANGS_S
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise _refusal(installed, f"its self-test hangs for {HANGS_S:.0f} s")
        time.sleep(0.005)
    if os.WIFSIGNALED(status):
        raise _refusal(installed, f"its self-test died of {signal.Signals(os.WTERMSIG(status)).name}")


def _refusal(installed: Installed, found: str) -> BundleError:
    return BundleError(
        f"bundle {installed.name}", found, expected="its golden vectors to come out", remedy="build it again"
    )


@contextlib.contextmanager
def ended_if_it_hangs(seconds: float) -> Iterator[None]:
    """End this process, with status 1 and a traceback, if the block takes longer; native code can be left no other way.

    An agent's next start counts that.
    """
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
