"""Infected windows against clean ones, one by one: true positives at 1 % false positives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contracts.vocabulary import CLEAN, INFECTED
from trainer.dataset.samples import Samples
from trainer.evaluate.figures import Detection
from trainer.evaluate.resampled import Floats, Resampled

Probabilities = NDArray[np.float32]
ALLOWED = 0.01
"""Of the clean windows: those that may be taken for infected."""
_LEVELS, _RESAMPLES = 1000, 2000
"""Thresholds that are looked at, each just above a clean window's score: all of them, or so many, evenly; and how many
of the resamples this figure is worked out on."""


def detection(
    test: Samples, probabilities: Probabilities, classes: tuple[str, ...], resampled: Resampled
) -> Detection | None:
    """True positive rate at 1 % false positives; None where one of the two was never recorded."""
    found = detection_of(test, probabilities, classes, resampled)
    if found is None:
        return None
    infected = [i for i, name in enumerate(classes) if name in INFECTED]
    return Detection(
        infected=int(np.isin(test.y, infected).sum()),
        clean=int((test.y == classes.index(CLEAN)).sum()),
        true_positive_rate=resampled.around(*found),
    )


def detection_of(
    test: Samples, probabilities: Probabilities, classes: tuple[str, ...], resampled: Resampled
) -> tuple[float, Floats] | None:
    """That rate, and those of resamples (R,), the same ones for every model."""
    infected_columns = [i for i, name in enumerate(classes) if name in INFECTED]
    score = probabilities[:, infected_columns].sum(axis=1, dtype=np.float64)
    positive = np.isin(test.y, infected_columns)
    negative = test.y == classes.index(CLEAN)
    if not positive.any() or not negative.any():
        return None
    rate = true_positive_rates(score, positive, negative, resampled.cluster, np.ones((1, resampled.episodes)))
    rates = true_positive_rates(score, positive, negative, resampled.cluster, resampled.draws[:_RESAMPLES])
    return float(rate[0]), rates


def true_positive_rates(
    score: Floats,
    positive: NDArray[np.bool_],
    negative: NDArray[np.bool_],
    cluster: NDArray[np.int64],
    draws: Floats | NDArray[np.uint8],
) -> Floats:
    """Share of the positive windows whose score is above the lowest threshold that at most 1 % of the negatives are
    above. draws: (R, E) how often each episode counts -> (R,); NaN where either is absent."""
    levels = -np.unique(-score[negative])  # a threshold is just above a clean window's score; the highest first
    if len(levels) > _LEVELS:
        levels = levels[np.linspace(0, len(levels) - 1, _LEVELS).astype(int)]
    false, true = (np.zeros((draws.shape[1], len(levels) + 2)) for _ in range(2))
    # at level k, what scores more than levels[k] counts: a clean window from the level after its own on
    np.add.at(false, (cluster[negative], np.searchsorted(-levels, -score[negative], side="left") + 1), 1.0)
    np.add.at(true, (cluster[positive], np.searchsorted(-levels, -score[positive], side="right")), 1.0)
    windows = [np.bincount(cluster[side], minlength=draws.shape[1]) for side in (negative, positive)]
    rates = np.empty(len(draws))
    step = max(1, (1 << 22) // len(levels))
    for start in range(0, len(draws), step):
        counts = draws[start : start + step].astype(np.float64)
        alarms_false, alarms_true = (np.cumsum(counts @ side[:, : len(levels)], axis=1) for side in (false, true))
        all_false, all_true = (counts @ one for one in windows)
        with np.errstate(divide="ignore", invalid="ignore"):
            hits = np.where(alarms_false <= ALLOWED * all_false[:, None], alarms_true, 0).max(axis=1) / all_true
        rates[start : start + step] = np.where((all_false > 0) & (all_true > 0), hits, np.nan)
    return rates
