"""Scores from confusion matrices: macro F1, and its bootstrap interval clustered by episode. Pure numpy.

The trainer's scorecard and the agent's running score are computed by this one code.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
REPLICATES = 2000


def confusions(truth: Ints, decided: Ints, cluster: Ints, classes: int) -> Ints:
    """Confusion matrices by cluster.

    truth, decided, cluster: (N,) int64; clusters are 0..E-1.
    Returns (E, K, K) int64: `[e, i, j]` windows of cluster e, truth i, decided j.
    """
    clusters = int(cluster.max()) + 1 if len(cluster) else 0
    cell = (cluster * classes + truth) * classes + decided
    return np.bincount(cell, minlength=clusters * classes**2).reshape(clusters, classes, classes)


def per_class_f1(confusion: Ints | Floats) -> Floats:
    """F1 of each class: (..., K, K) -> (..., K). NaN for a class that is neither true nor decided anywhere."""
    hit = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    total = (confusion.sum(axis=-1) + confusion.sum(axis=-2)).astype(np.float64)
    return np.divide(2 * hit, total, out=np.full(hit.shape, np.nan), where=total > 0)


def macro_f1(confusion: Ints | Floats) -> Floats:
    """Mean F1 over the union of seen classes (true or decided), as scikit-learn's: (..., K, K) -> (...)."""
    f1 = per_class_f1(confusion)
    seen = ~np.isnan(f1)
    return np.asarray(np.where(seen, f1, 0).sum(axis=-1) / np.maximum(seen.sum(axis=-1), 1))


def bootstrap(by_cluster: Ints, *, seed: int, replicates: int = REPLICATES) -> Floats:
    """Macro F1 of resamples of whole episodes (cluster bootstrap; Davison and Hinkley 1997, section 3.8).

    by_cluster: (E, K, K) or, for M models on the same windows, (M, E, K, K): every model sees the same resamples, so
    differences of the results are paired. Returns (replicates,) or (M, replicates).
    """
    clusters = by_cluster.shape[-3]
    picks = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=replicates)
    flat = by_cluster.reshape(*by_cluster.shape[:-2], -1).astype(np.float64)
    resampled = picks.astype(np.float64) @ flat  # whole numbers below 2**53: exact in any order of summation
    return macro_f1(resampled.reshape(*resampled.shape[:-1], *by_cluster.shape[-2:]))


def interval(replicates: Floats) -> tuple[float, float]:
    """The 95 % percentile interval."""
    low, high = np.percentile(replicates, [2.5, 97.5])
    return float(low), float(high)
