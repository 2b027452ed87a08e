"""Sets of whole numbers, as runs: a gap of a million is two numbers."""

from __future__ import annotations

import bisect
from collections.abc import Iterator


class Ranges:
    """Runs, both ends included, in order, none touching the next."""

    def __init__(self) -> None:
        self._runs: list[tuple[int, int]] = []

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._runs)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self._runs)

    def __contains__(self, number: int) -> bool:
        i = bisect.bisect_right(self._runs, (number, float("inf"))) - 1
        return i >= 0 and number <= self._runs[i][1]

    def add(self, first: int, last: int) -> None:
        """A run; it may overlap others."""
        low = bisect.bisect_left(self._runs, (first, 0))
        if low and self._runs[low - 1][1] >= first - 1:
            low -= 1
        high = low
        while high < len(self._runs) and self._runs[high][0] <= last + 1:
            first, last = min(first, self._runs[high][0]), max(last, self._runs[high][1])
            high += 1
        self._runs[low:high] = [(first, last)]

    def discard(self, first: int, last: int) -> None:
        """Whatever of that run is there."""
        kept = []
        low = max(0, bisect.bisect_left(self._runs, (first, 0)) - 1)
        high = low
        while high < len(self._runs) and self._runs[high][0] <= last:
            one, other = self._runs[high]
            kept += [(one, min(other, first - 1))] if one < first else []
            kept += [(max(one, last + 1), other)] if other > last else []
            high += 1
        self._runs[low:high] = kept

    def without(self, other: Ranges) -> Ranges:
        """Those that are not in another."""
        left = Ranges()
        left._runs = list(self._runs)
        for first, last in other:
            left.discard(first, last)
        return left
