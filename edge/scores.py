"""Scores from confusion matrices: macro F1, and its bootstrap interval clustered by episode. Pure numpy.

The trainer's scorecard and the agent's running score are computed by this one code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from contracts.events.payloads import Interval

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
REPLICATES = 2000
_AT_ONCE = 1 << 20
C = TypeVar("C", bound=str)


def confusions(truth: Ints, decided: Ints, cluster: Ints, classes: int) -> Ints:
    """Confusion matrices by cluster.

    truth, decided, cluster: (N,) int64; clusters are 0..E-1. A window without a choice (decided -1) is in none.
    Returns (E, K, K) int64: `[e, i, j]` windows of cluster e, truth i, decided j.
    """
    clusters = int(cluster.max()) + 1 if len(cluster) else 0
    cell = ((cluster * classes + truth) * classes + decided)[decided >= 0]
    return np.bincount(cell, minlength=clusters * classes**2).reshape(clusters, classes, classes)


def per_class_f1(confusion: Ints | Floats) -> Floats:
    """F1 of each class: (..., K, K) -> (..., K). NaN for a class without truth: decided or not, it was not tested."""
    hit = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    truth = confusion.sum(axis=-1)
    total = (truth + confusion.sum(axis=-2)).astype(np.float64)
    f1: Floats = np.divide(2 * hit, total, out=np.full(hit.shape, np.nan), where=truth > 0)
    return f1


def macro_f1(confusion: Ints | Floats) -> Floats:
    """Mean F1 over the classes that have truth (scikit-learn's, with these for `labels`): (..., K, K) -> (...)."""
    f1 = per_class_f1(confusion)
    tested = ~np.isnan(f1)
    return np.asarray(np.where(tested, f1, 0).sum(axis=-1) / np.maximum(tested.sum(axis=-1), 1))


def macro_f1_of(truth: Ints, decided: Ints, classes: int) -> float:
    """Macro F1 of all windows together: (N,), (N,) -> one number; 0 of none."""
    return float(macro_f1(confusions(truth, decided, np.zeros(len(truth), np.int64), classes).sum(axis=0)))


def draws(clusters: int, *, seed: int, replicates: int) -> NDArray[np.uint8]:
    """How often each cluster is drawn in each resample: (replicates, clusters) uint8, as one cluster of very many is
    never drawn 255 times."""
    rng = np.random.default_rng(seed)
    counts = np.empty((replicates, clusters), np.uint8)
    rows = max(1, _AT_ONCE // clusters)
    for start in range(0, replicates, rows):  # a million picks at a time stay in the cache
        some = min(rows, replicates - start)
        picks = (
            rng.integers(0, clusters, (some, clusters), np.int32) + np.arange(some, dtype=np.int32)[:, None] * clusters
        )
        counts[start : start + some] = np.bincount(picks.ravel(), minlength=some * clusters).reshape(some, clusters)
    return counts


def bootstrap(by_cluster: Ints, *, seed: int, replicates: int = REPLICATES) -> Floats:
    """Macro F1 of resamples of whole episodes (cluster bootstrap; Davison and Hinkley 1997, section 3.8).

    by_cluster: (E, K, K) or, for M models on the same windows, (M, E, K, K): every model sees the same resamples, so
    differences of the results are paired. Returns (replicates,) or (M, replicates).
    """
    counts = draws(by_cluster.shape[-3], seed=seed, replicates=replicates)
    flat = by_cluster.reshape(*by_cluster.shape[:-2], -1).astype(np.float64)
    resampled = counts.astype(np.float64) @ flat  # whole numbers below 2**53: exact in any order of summation
    return macro_f1(resampled.reshape(*resampled.shape[:-1], *by_cluster.shape[-2:]))


def interval(replicates: Floats) -> tuple[float, float]:
    """The 95 % percentile interval."""
    low, high = np.percentile(replicates, [2.5, 97.5])
    return float(low), float(high)


def f1_interval(by_cluster: Ints, *, seed: int) -> Interval:
    """Macro F1 of (E, K, K) with its interval; without one from fewer than two episodes."""
    value = float(macro_f1(by_cluster.sum(axis=0)))
    if len(by_cluster) < 2:
        return Interval(value=value, low=None, high=None)
    low, high = interval(bootstrap(by_cluster, seed=seed))
    return Interval(value=value, low=low, high=high)


def paired_interval(one: Ints, other: Ints, *, seed: int) -> Interval:
    """Macro F1 of one model less another's on the same windows, (E, K, K) each, with its paired interval."""
    both = np.stack([one, other])
    values = macro_f1(both.sum(axis=1))
    value = float(values[0] - values[1])
    if len(one) < 2:
        return Interval(value=value, low=None, high=None)
    replicates = bootstrap(both, seed=seed)
    low, high = interval(replicates[0] - replicates[1])
    return Interval(value=value, low=low, high=high)


def rate_interval(counts: Ints, *, seed: int) -> Interval:
    """A share with its interval by cluster. counts: (E, 2), windows and hits; 0 of none."""
    windows, hits = counts.sum(axis=0)
    value = float(hits / windows) if windows else 0.0
    if len(counts) < 2:
        return Interval(value=value, low=None, high=None)
    total = draws(len(counts), seed=seed, replicates=REPLICATES).astype(np.float64) @ counts
    low, high = interval(total[:, 1] / np.maximum(total[:, 0], 1))
    return Interval(value=value, low=low, high=high)


def by_class(confusion: Ints, classes: Sequence[C]) -> dict[C, float]:
    """F1 of every class that has truth, of one (K, K)."""
    return {classes[i]: float(f1) for i, f1 in enumerate(per_class_f1(confusion)) if not np.isnan(f1)}


def untested(confusion: Ints, classes: Sequence[C]) -> list[C]:
    """Classes without truth, of one (K, K): no score says anything of them."""
    return [classes[i] for i in np.flatnonzero(confusion.sum(axis=1) == 0)]


def seen(confusion: Ints, classes: Sequence[C]) -> list[C]:
    """Classes that were true or decided, of one (K, K)."""
    return [classes[i] for i in _seen(confusion)]


def seen_part(confusion: Ints) -> list[list[int]]:
    """The rows and columns of the classes that `seen` names, of one (K, K)."""
    at = _seen(confusion)
    return [[int(n) for n in confusion[i, at]] for i in at]


def _seen(confusion: Ints) -> NDArray[np.intp]:
    return np.flatnonzero(confusion.sum(axis=0) + confusion.sum(axis=1))


def choice(probabilities: NDArray[np.float32]) -> int | None:
    """The most probable class of (K,). None where the model gave no numbers: that is no choice, and no score."""
    (chosen,) = choices(probabilities[None])
    return None if chosen < 0 else int(chosen)


def choices(probabilities: NDArray[np.float32]) -> Ints:
    """The choice of every window: (N, K) -> (N,) int64, -1 where there is none."""
    return np.where(np.isfinite(probabilities).all(axis=1), probabilities.argmax(axis=1), -1)


def calibrated(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Probabilities (..., K) as if the logits had been divided by a temperature (Guo et al., ICML 2017).

    Decisions stay; NaN stays NaN, and 0 stays 0.
    """
    if temperature == 1.0:
        return probabilities
    cooled = np.power(probabilities.astype(np.float64), 1.0 / temperature)
    return np.asarray(cooled / cooled.sum(axis=-1, keepdims=True), np.float32)


def agreement(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Share of windows on which two probabilities (N, K) choose alike."""
    return float(np.mean(choices(one) == choices(other)))
