"""Memory that was used and is free again goes back to the system (mallopt(3), malloc_trim(3)); glibc only."""

from __future__ import annotations

import contextlib
import ctypes

_M_ARENA_MAX = -8
_ARENAS = 2
"""Of its own, each of a dozen threads would hold on to one."""


def be_frugal() -> None:
    """Call before threads start."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """About a millisecond."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
