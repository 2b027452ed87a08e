"""What a guest writes, as lines: bounded in length and in rate, whatever it does."""

from __future__ import annotations

from dataclasses import dataclass

MOST_LINE = 4096
"""Bytes; an honest line has about 300."""
MOST_READ = 1 << 14
"""Bytes taken at once; what a guest writes beyond that waits in QEMU, and then in the guest."""


@dataclass
class Heard:
    """What came and was of no use."""

    garbage: int = 0
    """Lines that are too long or no rows."""
    stale: int = 0
    """Lines that had waited while nobody read them."""
    flooded: int = 0
    """Lines beyond the rate."""


class Lines:
    """Bytes to whole lines. A line that grows too long is dropped up to its end, and counted once."""

    def __init__(self, heard: Heard) -> None:
        self._heard, self._rest, self._skipping = heard, b"", False

    def take(self, data: bytes) -> list[bytes]:
        """The lines that end in `data`."""
        *whole, rest = (self._rest + data).split(b"\n")
        if self._skipping and whole:
            whole, self._skipping = whole[1:], False
        self._rest = b"" if self._skipping else rest
        if len(self._rest) > MOST_LINE:
            self._rest, self._skipping = b"", True
            self._heard.garbage += 1
        long = sum(len(line) > MOST_LINE for line in whole)
        self._heard.garbage += long
        return [line for line in whole if len(line) <= MOST_LINE] if long else whole


class Rate:
    """So many a second, and a few at once."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._per_s, self._burst = per_s, burst
        self._left, self._at_s = float(burst), 0.0

    def spend(self, at_s: float) -> bool:
        """Whether one more may pass at this moment of the monotonic clock."""
        self._left = min(float(self._burst), self._left + (at_s - self._at_s) * self._per_s)
        self._at_s = at_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
