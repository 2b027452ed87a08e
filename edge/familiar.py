"""Whether a window is like anything that a model learned from: a split-conformal p-value (Vovk, Gammerman and Shafer,
Algorithmic Learning in a Random World, 2005, section 4.1; Laxhammar and Falkman's anomaly detector).

A window is its channels' levels: their means over what was observed, in standard deviations of the training side. How
unlike it is is the distance to the nearest of some windows that were learned from; what that distance means, the
validation side says, whose hosts were not learned from either.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
UNFAMILIAR = 0.01
"""Below this p-value a window is flagged: of windows like those tuned by, one in a hundred is."""
_FAR = 4.0
"""Standard deviations: one channel alone makes no window stranger than that."""
_AT_ONCE = 256


def standardised(levels: Floats, mean: Floats, std: Floats) -> Floats:
    """(N, V) means of what was observed, NaN = nothing was, in standard deviations of the training side."""
    return np.clip((levels - mean) / std, -_FAR, _FAR)


def nearest(points: Floats, centres: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Distance to the nearest centre, the root mean square over what was observed, and which: (N, V), (M, V) ->
    (N,), (N,). NaN where nothing was."""
    distance, which, squares = np.full(len(points), np.nan), np.zeros(len(points), np.intp), (centres**2).T
    for start in range(0, len(points), _AT_ONCE):
        some = points[start : start + _AT_ONCE]
        seen = ~np.isnan(some)
        known = np.where(seen, some, 0.0)
        # |x - c|^2 over what was observed, without an array of (N, M, V)
        square = (known**2).sum(axis=1)[:, None] - 2 * known @ centres.T + seen.astype(np.float64) @ squares
        at = square.argmin(axis=1)
        count = seen.sum(axis=1)
        least = np.maximum(square[np.arange(len(some)), at], 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            distance[start : start + _AT_ONCE] = np.sqrt(least / count)
        which[start : start + _AT_ONCE] = at
    return distance, which


def p_values(distance: Floats, tuned: Floats) -> Floats:
    """The share of the windows tuned by, and of the window itself, that are as far away: (N,), (T,) ascending -> (N,);
    1 where nothing was observed."""
    beyond = len(tuned) - np.searchsorted(tuned, distance, side="left")
    return np.where(np.isnan(distance), 1.0, (1 + beyond) / (1 + len(tuned)))
