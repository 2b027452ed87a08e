"""An exporter's uptime -> Unix time.

NetFlow counts in milliseconds since the exporter's boot, in 32 bits that wrap after 49.7 days. Where a header holds
whole seconds only (v9), the moment of boot follows from many headers: none can have left before its second nor after
it, and none can arrive before it left.
"""

from __future__ import annotations

MS = 1_000_000
_WRAP = 1 << 32
_RESTARTED_MS = 1000
"""An uptime that falls back by more is another boot; by less, datagrams have overtaken each other."""


def since_ms(later: int, earlier: int) -> int:
    """How much later one uptime is than another, in ms, across a wrap; negative where it is earlier."""
    return (later - earlier + (_WRAP >> 1)) % _WRAP - (_WRAP >> 1)


class Boot:
    """When an exporter began to count, as far as its headers tell."""

    def __init__(self) -> None:
        self.restarts = 0
        self._last: int | None = None  # the highest uptime so far, beyond 32 bits
        self._low = self._high = self._seen = 0

    def wall_ns(self, uptime_ms: int, low_ns: int, high_ns: int, recv_wall_ns: int) -> int:
        """A header's own moment, Unix ns, which lies from `low_ns` to `high_ns` by what it says.

        uptime_ms: 32 bits; recv_wall_ns: when its datagram came.
        """
        ahead = 0 if self._last is None else since_ms(uptime_ms, self._last % _WRAP)
        if self._last is None or ahead < -_RESTARTED_MS:
            self._begin(uptime_ms, low_ns, high_ns, recv_wall_ns)
        uptime = (self._last or 0) + (ahead if self._last is not None and ahead >= -_RESTARTED_MS else 0)
        passed = uptime * MS
        low, high = max(self._low, low_ns - passed), min(self._high, high_ns - passed)
        if low > high:  # its clock or ours was set: what was known is of another time
            self._begin(uptime_ms, low_ns, high_ns, recv_wall_ns)
            uptime = self._last or 0
            passed, low, high = uptime * MS, self._low, self._high
        self._low, self._high = low, high
        self._seen = min(self._seen, recv_wall_ns - passed)
        self._last = max(self._last or 0, uptime)
        return min(max(self._seen, low), high) + passed

    def _begin(self, uptime_ms: int, low_ns: int, high_ns: int, recv_wall_ns: int) -> None:
        if self._last is not None:
            self.restarts += 1
        passed = uptime_ms * MS
        self._last = uptime_ms
        self._low, self._high, self._seen = low_ns - passed, high_ns - passed, recv_wall_ns - passed
