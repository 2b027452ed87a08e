"""Macro F1 over parts of the held-out side: classes, profiles, hosts, and how much of a window lies in its phase."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from contracts.events.payloads import Interval
from edge import scores
from trainer.dataset.samples import Samples, Strings
from trainer.evaluate.figures import Group
from trainer.evaluate.resampled import Floats, Resampled

Ints = NDArray[np.int64]
PURITIES: tuple[tuple[str, Callable[[NDArray[np.float32]], NDArray[np.bool_]]], ...] = (
    ("one phase", lambda purity: purity >= 1),
    ("3/4 or more", lambda purity: (purity >= 0.75) & (purity < 1)),
    ("1/2 to 3/4", lambda purity: (purity >= 0.5) & (purity < 0.75)),
    ("less than 1/2", lambda purity: purity < 0.5),
)
"""How much of a window lies in the phase that it is labelled with."""


def per_class(confusions: Ints, classes: Sequence[str], resampled: Resampled) -> dict[str, Interval]:
    """F1 of every class that has truth. confusions: (E, K, K)."""

    def f1_of(i: int) -> Callable[[Floats], Floats]:
        return lambda sums: scores.per_class_f1(sums)[..., i]

    tested = scores.by_class(confusions.sum(axis=0), classes)
    return {name: resampled.interval(confusions, f1_of(i)) for i, name in enumerate(classes) if name in tested}


def by_group(group: Strings, test: Samples, decided: Ints, classes: int, resampled: Resampled) -> dict[str, Group]:
    """Per value of a column of ids. What was never tested is not in it."""
    return {str(name): _group(group == name, test, decided, classes, resampled) for name in sorted(set(group.tolist()))}


def by_purity(test: Samples, decided: Ints, classes: int, resampled: Resampled) -> dict[str, Group]:
    """Windows that straddle a boundary apart from those that do not."""
    found = {}
    for name, which in PURITIES:
        at = which(test.purity)
        if at.any():
            found[name] = _group(at, test, decided, classes, resampled)
    return found


def _group(at: NDArray[np.bool_], test: Samples, decided: Ints, classes: int, resampled: Resampled) -> Group:
    found = scores.confusions(test.y[at], decided[at], resampled.cluster[at], classes)
    whole = np.zeros((resampled.episodes, classes, classes), np.int64)
    whole[: len(found)] = found

    def macro_f1(sums: Floats) -> Floats:
        """NaN for a resample that drew none of them."""
        return np.asarray(np.where(sums.sum(axis=(-2, -1)) > 0, scores.macro_f1(sums), np.nan))

    episodes = len(np.unique(resampled.cluster[at]))
    interval = resampled.interval(whole, macro_f1)
    if episodes < 2:
        interval = Interval(value=interval.value, low=None, high=None)
    return Group(macro_f1=interval, episodes=episodes, windows=int(at.sum()))
