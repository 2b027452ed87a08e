"""Durations, and their percentiles."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

import numpy as np

from contracts.events.payloads import Latency

_KEPT = 4096


class Timings:
    """Durations of one kind, in ms, since they were last asked for; percentiles are over the last few thousand."""

    def __init__(self) -> None:
        self._held: deque[float] = deque(maxlen=_KEPT)
        self._count = 0
        self._lock = threading.Lock()

    def add(self, milliseconds: float) -> None:
        """One more."""
        with self._lock:
            self._held.append(milliseconds)
            self._count += 1

    def take(self) -> Latency:
        """Percentiles of what has come since the last call."""
        with self._lock:
            held, count = list(self._held), self._count
            self._held.clear()
            self._count = 0
        return latency_of(held, count)


def latency_of(milliseconds: Sequence[float], count: int | None = None) -> Latency:
    """Percentiles. count: where there were more than these."""
    if not milliseconds:
        return Latency(count=0, p50=None, p95=None, p99=None)
    p50, p95, p99 = (round(float(p), 4) for p in np.percentile(milliseconds, [50, 95, 99]))
    return Latency(count=len(milliseconds) if count is None else count, p50=p50, p95=p95, p99=p99)
