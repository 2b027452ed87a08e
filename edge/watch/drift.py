"""How far what is seen has drifted from what a model learned from: the population stability index, channel by channel.

Index: the sum over bins of (seen - learned) ln(seen / learned); N. Siddiqi, Credit Risk Scorecards, 2006. The custom is
to call 0.1 little and 0.25 much.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contracts.bundle.scorecard import Reference

KEPT = 720
"""Windows: an hour."""
ENOUGH = 120
"""With fewer, chance alone gives a tenth: (bins - 1) / windows is what it gives on average."""
_FLOOR = 1e-3
"""A bin without a window counts as so much."""


class Drift:
    """One model's channels, over the last hour of windows."""

    def __init__(self, reference: Reference, channels: tuple[str, ...]) -> None:
        """A bundle from before this had no bins: nothing is said then."""
        bins = reference.bins or ()
        self._channels = channels
        self._edges = np.full((len(bins), max((len(one.edges) for one in bins), default=0)), np.inf)
        for line, one in zip(self._edges, bins, strict=True):
            line[: len(one.edges)] = one.edges
        self._shares = [np.maximum(np.array(one.shares), _FLOOR) for one in bins]
        self._seen = np.full((KEPT, len(bins)), -1, np.int16)
        self._at = 0

    def add(self, levels: NDArray[np.float64]) -> None:
        """(V,): each channel's mean in one window, NaN = not observed."""
        if len(self._edges):
            bins = np.count_nonzero(self._edges < levels[:, None], axis=1)
            self._seen[self._at % KEPT] = np.where(np.isnan(levels), -1, bins)
            self._at += 1

    def index(self) -> dict[str, float]:
        """By channel, for those of which enough was seen."""
        found = {}
        for i, (channel, shares) in enumerate(zip(self._channels, self._shares, strict=False)):
            seen = self._seen[:, i][self._seen[:, i] >= 0]
            if len(seen) >= ENOUGH:
                share = np.maximum(np.bincount(seen, minlength=len(shares)) / len(seen), _FLOOR)
                found[channel] = round(float(np.sum((share - shares) * np.log(share / shares))), 4)
        return found
