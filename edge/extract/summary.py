"""A tensor's summary: six statistics per channel, over the observed steps alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contracts.features import SECOND, FeatureSchema


def summarise(tensor: NDArray[np.float32], schema: FeatureSchema) -> NDArray[np.float32]:
    """Summary statistics of windows.

    tensor: (N, C, T) float32, NaN = not observed.
    Returns (N, C * 6) float32, per channel mean, std, min, max, slope (per s, least squares) and roughness (mean
    absolute change from step to step); NaN where too few steps are observed. Sums run in float64.
    """
    windows, channels, steps = tensor.shape
    x = tensor.astype(np.float64)
    seen = ~np.isnan(x)
    count = seen.sum(axis=2)
    filled = np.where(seen, x, 0.0)
    n = np.where(count, count, np.nan)
    mean = filled.sum(axis=2) / n
    deviation = np.where(seen, x - mean[:, :, None], 0.0)
    spread = (deviation * deviation).sum(axis=2)
    low = np.where(seen, x, np.inf).min(axis=2)
    high = np.where(seen, x, -np.inf).max(axis=2)

    time = np.arange(steps) * (schema.step_ns / SECOND)
    weighted = seen * time
    mean_time = weighted.sum(axis=2) / n
    time_spread = (weighted * time).sum(axis=2) - n * mean_time * mean_time
    both = (deviation * time).sum(axis=2)  # deviations add up to 0, so the mean of time drops out
    slope = both / np.where(count > 1, time_spread, np.nan)

    pairs = seen[:, :, 1:] & seen[:, :, :-1]
    jumps = np.abs(np.where(pairs, filled[:, :, 1:] - filled[:, :, :-1], 0.0)).sum(axis=2)
    pair_count = pairs.sum(axis=2)
    roughness = jumps / np.where(pair_count, pair_count, np.nan)

    nothing = count == 0
    low[nothing] = high[nothing] = np.nan
    statistics = np.stack([mean, np.sqrt(spread / n), low, high, slope, roughness], axis=2)
    flat: NDArray[np.float32] = statistics.reshape(windows, channels * statistics.shape[2]).astype(np.float32)
    return flat
