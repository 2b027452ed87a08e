"""What a bundle carries besides its artifacts: golden vectors, and what its inputs looked like in training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contracts.bundle.scorecard import Bins, Reference
from trainer.architectures.architecture import Model, log_loss
from trainer.dataset.side import Side
from trainer.evaluate.familiarity import levels_of, mean_and_std

GOLDEN_PER_CLASS = 2
BINS = 10
"""Of a channel's levels, for drift: the custom of the population stability index."""
_WINDOWS = 2000
"""Importance is worked out on at most so many windows."""


def golden_rows(
    y: NDArray[np.int64], said: NDArray[np.float32], off: NDArray[np.float32], tolerance: float
) -> NDArray[np.intp]:
    """The first few windows of each class whose decision a difference of `tolerance` cannot change, and whose
    probabilities differ by half of it at most; else the surest.

    said: (N, K); off: (N,) how far probabilities were seen to differ.
    """
    second, first = np.sort(said, axis=1)[:, -2:].T
    clear = (first - second > 2 * tolerance) & (off <= tolerance / 2)
    chosen = []
    for label in np.unique(y):
        at = np.flatnonzero(y == label)
        chosen.append(at[np.argsort(~clear[at] * (1 + second[at] - first[at]), kind="stable")][:GOLDEN_PER_CLASS])
    return np.sort(np.concatenate(chosen))


def reference(model: Model, train: Side, validation: Side, channels: int) -> Reference:
    """What the inputs looked like in training, and what the model makes of each channel.

    Importance is the rise of the validation log loss when a channel is not observed.
    """
    width = train.shape[0] // channels
    levels = levels_of(train, channels)
    rows = validation.spread(_WINDOWS)
    x, y = validation.at(rows), validation.y[rows]
    whole = log_loss(model.predict(x), y)
    importance = []
    for i in range(channels):
        blind = x.copy()
        blind[:, i * width : (i + 1) * width] = np.nan
        importance.append(max(0.0, log_loss(model.predict(blind), y) - whole))
    mean, std = mean_and_std(levels)
    return Reference(
        mean=tuple(float(v) for v in mean),
        std=tuple(float(v) for v in std),
        importance=tuple(round(v, 6) for v in importance),
        bins=tuple(_bins(column) for column in levels.T),
    )


def _bins(levels: NDArray[np.float64]) -> Bins:
    """Ten bins of about as many windows each; fewer where many windows share a value. levels: (N,), NaN = not observed.

    A value that is an edge counts in the bin below it: the many zeros of a quiet channel have a bin of their own.
    """
    known = levels[~np.isnan(levels)]
    if not len(known):
        return Bins(edges=(), shares=(1.0,))
    edges = np.unique(np.quantile(known, np.arange(1, BINS) / BINS, method="lower"))
    counts = np.bincount(np.searchsorted(edges, known, side="left"), minlength=len(edges) + 1)
    return Bins(edges=tuple(edges.tolist()), shares=tuple(round(float(n) / len(known), 6) for n in counts))
