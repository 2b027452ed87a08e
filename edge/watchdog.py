"""An end for what hangs: native code can be left no other way than with its process."""

from __future__ import annotations

import contextlib
import faulthandler
import threading
import time
from collections.abc import Iterator

_deadlines: dict[int, float] = {}
_lock = threading.Lock()


@contextlib.contextmanager
def ended_if_it_hangs(seconds: float) -> Iterator[None]:
    """End this process, with status 1 and a traceback, if the block takes longer.

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
