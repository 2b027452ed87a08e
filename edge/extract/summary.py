"""A tensor's summary: six statistics per channel, over the observed steps alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contracts.features.schema import SECOND, FeatureSchema

Floats = NDArray[np.float64]
_AT_ONCE = 512
"""Lines that are worked on together: they and what is made of them stay in a core's cache."""


def summarise(tensor: NDArray[np.float32], schema: FeatureSchema) -> NDArray[np.float32]:
    """Summary statistics of windows.

    tensor: (N, C, T) float32, NaN = not observed.
    Returns (N, C * 6) float32, per channel mean, std, min, max, slope (per s, least squares) and roughness (mean
    absolute change from step to step); NaN where too few steps are observed. Sums run in float64.
    """
    windows, channels, steps = tensor.shape
    lines = tensor.reshape(windows * channels, steps)
    time = np.arange(steps, dtype=np.float64) * (schema.step_ns / SECOND)
    statistics = np.empty((len(lines), len(schema.statistics)), np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):  # a window of one step has neither slope nor roughness
        for start in range(0, len(lines), _AT_ONCE):
            some = lines[start : start + _AT_ONCE]
            x = some.astype(np.float64)
            total = x.sum(axis=1)
            found = _of_whole(some, x, total, time)
            if np.isnan(total.sum()):
                gaps = np.flatnonzero(np.isnan(total))
                found[gaps] = _of_gappy(x[gaps], time)
            statistics[start : start + _AT_ONCE] = found
    return statistics.reshape(windows, channels * len(schema.statistics))


def _of_whole(lines: NDArray[np.float32], x: Floats, total: Floats, time: Floats) -> Floats:
    """(L, 6) of lines (L, T) in which every step is observed, NaN for the others. x: the same lines in float64."""
    steps = x.shape[1]
    statistics = np.empty((len(x), 6))
    mean = total / steps
    deviation = x - mean[:, None]
    scratch = np.square(deviation)
    statistics[:, 0] = mean
    statistics[:, 1] = np.sqrt(scratch.sum(axis=1) / steps)
    statistics[:, 2] = lines.min(axis=1)
    statistics[:, 3] = lines.max(axis=1)
    # deviations add up to 0, so the mean of time drops out
    statistics[:, 4] = np.multiply(deviation, time, out=scratch).sum(axis=1) / _time_spread(time)
    jumps = np.subtract(x[:, 1:], x[:, :-1], out=scratch[:, 1:])
    statistics[:, 5] = np.abs(jumps, out=jumps).sum(axis=1) / np.float64(steps - 1)
    return statistics


def _of_gappy(x: Floats, time: Floats) -> Floats:
    """(L, 6) of lines (L, T) of which some steps are not observed."""
    seen = ~np.isnan(x)
    count = seen.sum(axis=1)
    filled = np.where(seen, x, 0.0)
    n = np.where(count, count, np.nan)
    mean = filled.sum(axis=1) / n
    deviation = np.where(seen, x - mean[:, None], 0.0)
    spread = (deviation * deviation).sum(axis=1)
    nothing = count == 0
    low = np.where(nothing, np.nan, np.where(seen, x, np.inf).min(axis=1))
    high = np.where(nothing, np.nan, np.where(seen, x, -np.inf).max(axis=1))

    weighted = seen * time
    mean_time = weighted.sum(axis=1) / n
    time_spread = (weighted * time).sum(axis=1) - n * mean_time * mean_time
    slope = (deviation * time).sum(axis=1) / np.where(count > 1, time_spread, np.nan)

    pairs = seen[:, 1:] & seen[:, :-1]
    jumps = np.abs(np.where(pairs, filled[:, 1:] - filled[:, :-1], 0.0)).sum(axis=1)
    pair_count = pairs.sum(axis=1)
    roughness = jumps / np.where(pair_count, pair_count, np.nan)
    return np.stack([mean, np.sqrt(spread / n), low, high, slope, roughness], axis=1)


def _time_spread(time: Floats) -> float:
    """Of a line with every step observed, worked out as for one with gaps."""
    n = np.float64(len(time))
    mean = time.sum() / n
    return float((time * time).sum() - n * mean * mean)
