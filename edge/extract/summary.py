"""A tensor's summary: six statistics per channel, over the observed steps alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contracts.features import SECOND, FeatureSchema

Floats = NDArray[np.float64]


def summarise(tensor: NDArray[np.float32], schema: FeatureSchema) -> NDArray[np.float32]:
    """Summary statistics of windows.

    tensor: (N, C, T) float32, NaN = not observed.
    Returns (N, C * 6) float32, per channel mean, std, min, max, slope (per s, least squares) and roughness (mean
    absolute change from step to step); NaN where too few steps are observed. Sums run in float64.
    """
    windows, channels, steps = tensor.shape
    x = tensor.reshape(windows * channels, steps).astype(np.float64)
    time = np.arange(steps) * (schema.step_ns / SECOND)
    total = x.sum(axis=1)
    statistics = _of_whole(x, total, time)
    gaps = np.flatnonzero(np.isnan(total))
    statistics[gaps] = _of_gappy(x[gaps], time)
    return statistics.reshape(windows, channels * statistics.shape[1]).astype(np.float32)


def _of_whole(x: Floats, total: Floats, time: Floats) -> Floats:
    """(L, 6) of lines (L, T) in which every step is observed; NaN for the others."""
    steps = x.shape[1]
    statistics = np.empty((len(x), 6))
    mean, deviation_of, low, high, slope, roughness = statistics.T
    np.divide(total, steps, out=mean)
    x.min(axis=1, out=low)
    x.max(axis=1, out=high)
    deviation = x - mean[:, None]
    spread = (deviation * deviation).sum(axis=1)
    np.sqrt(spread / steps, out=deviation_of)
    # deviations add up to 0, so the mean of time drops out
    np.multiply(deviation, time, out=deviation)
    np.divide(deviation.sum(axis=1), _time_spread(time), out=slope)
    jumps = deviation[:, 1:]
    np.subtract(x[:, 1:], x[:, :-1], out=jumps)
    np.abs(jumps, out=jumps)
    np.divide(jumps.sum(axis=1), steps - 1, out=roughness)
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
