"""Every model against every other, on the same resamples; and what trusting the guest would buy."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from contracts.events.payloads import Paired
from edge import scores
from trainer.evaluate.figures import Gap, Pair
from trainer.evaluate.resampled import Floats, Resampled


class Duels:
    """Macro F1 of models, and of their resamples. confusions: title -> (E, K, K)."""

    def __init__(self, confusions: Mapping[str, NDArray[np.int64]], resampled: Resampled) -> None:
        self._resampled = resampled
        self.value = {title: float(scores.macro_f1(some.sum(axis=0))) for title, some in confusions.items()}
        self._replicates = {title: scores.macro_f1(resampled.total(some)) for title, some in confusions.items()}

    def pair(self, one: str, other: str) -> Pair:
        """Without an interval and a p from fewer than two episodes."""
        difference = self._replicates[one] - self._replicates[other]
        found = self._resampled.around(self.value[one] - self.value[other], difference)
        p = None if found.low is None else two_sided(difference)
        return Pair(one=one, other=other, difference=found, p=p, p_holm=None)

    def pairs(self) -> list[Pair]:
        """All of them, the better one first, by Holm's p and then the difference."""
        order = sorted(self.value, key=lambda title: (-self.value[title], title))
        found = [self.pair(one, other) for one, other in itertools.combinations(order, 2)]
        adjusted = holm([1.0 if pair.p is None else pair.p for pair in found])
        paired = [
            Pair(one=pair.one, other=pair.other, difference=pair.difference, p=pair.p, p_holm=p if pair.p else None)
            for pair, p in zip(found, adjusted, strict=True)
        ]
        return sorted(paired, key=lambda pair: (pair.p_holm or 1.0, -pair.difference.value))

    def gaps(self) -> list[Gap]:
        """Oracle less realistic, per architecture that has both."""
        architectures = dict.fromkeys(title.rpartition("-")[0] for title in self.value)
        return [
            Gap(architecture=name, difference=self.pair(f"{name}-oracle", f"{name}-realistic").difference)
            for name in architectures
            if {f"{name}-oracle", f"{name}-realistic"} <= self.value.keys()
        ]

    def against_best(self, title: str) -> Paired | None:
        """One model against the best of the others."""
        others = sorted((other for other in self.value if other != title), key=lambda o: (-self.value[o], o))
        return Paired(against=others[0], difference=self.pair(title, others[0]).difference) if others else None


def two_sided(differences: Floats) -> float:
    """How often a resample's difference lies on the other side of 0, twice (Davison and Hinkley, section 5.4: one
    resample is added to either count, so that no p is 0)."""
    n = len(differences)
    smaller = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return float(min(1.0, 2 * (smaller + 1) / (n + 1)))


def holm(p: Sequence[float]) -> list[float]:
    """p values that hold together (Holm's step-down, Scandinavian Journal of Statistics, 1979)."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, p[i] * (len(p) - rank)))
        adjusted[i] = highest
    return [float(value) for value in adjusted]
