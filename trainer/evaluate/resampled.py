"""Resamples of whole episodes: one table of how often each is drawn, which every figure of an evaluation shares.

Windows of one episode are no independent evidence, so intervals come from drawing episodes with replacement (cluster
bootstrap; Davison and Hinkley, Bootstrap Methods, 1997, section 3.8). Sharing the draws makes differences paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from contracts.events.payloads import Interval
from edge import scores

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
REPLICATES = 10_000
_BYTES = 500_000_000
"""More draws are not held at once: above 50,000 episodes, there are fewer resamples (1,000 at least)."""
_AT_ONCE = 1 << 22


class Resampled:
    """Draws over the episodes of one test side. cluster: (N,) int64, the episode of each window, 0..E-1."""

    def __init__(self, episode_id: NDArray[np.object_], seed: int, replicates: int = REPLICATES) -> None:
        names, inverse = np.unique(episode_id.astype(str), return_inverse=True)
        self.episodes, self.cluster = len(names), inverse.astype(np.int64)
        replicates = min(replicates, max(1000, _BYTES // self.episodes))
        self.draws = scores.draws(self.episodes, seed=seed, replicates=replicates)

    def some_at_a_time(self) -> Iterator[Floats]:
        """The draws as float64, some resamples after the other."""
        rows = max(1, _AT_ONCE // self.episodes)
        for start in range(0, len(self.draws), rows):
            yield self.draws[start : start + rows].astype(np.float64)

    def total(self, by_episode: Ints | Floats) -> Floats:
        """(E, …) of what each episode adds -> (R, …), the sums of every resample."""
        flat = by_episode.reshape(self.episodes, -1).astype(np.float64)
        sums = [draws @ flat for draws in self.some_at_a_time()]
        return np.asarray(np.concatenate(sums)).reshape(len(self.draws), *by_episode.shape[1:])

    def confusions(self, truth: Ints, decided: Ints, classes: int) -> Ints:
        """(E, K, K)."""
        found = scores.confusions(truth, decided, self.cluster, classes)
        return np.concatenate([found, np.zeros((self.episodes - len(found), classes, classes), np.int64)])

    def interval(self, by_episode: Ints | Floats, statistic: Callable[[Floats], Floats]) -> Interval:
        """A statistic of sums over episodes, (…, *shape) -> (…), with its 95 % percentile interval.

        Without one from fewer than two episodes. Resamples on which the statistic is not defined (NaN) are left out.
        """
        value = float(statistic(by_episode.sum(axis=0, dtype=np.float64)))
        return self.around(value, statistic(self.total(by_episode)))

    def around(self, value: float, replicates: Floats) -> Interval:
        """A value with the interval of its replicates (R,)."""
        known = replicates[~np.isnan(replicates)]
        if self.episodes < 2 or len(known) < 2:
            return Interval(value=value, low=None, high=None)
        with np.errstate(invalid="ignore"):  # between two endless ones
            low, high = scores.interval(known)
        return Interval(value=value, low=low, high=high)

    def macro_f1(self, truth: Ints, decided: Ints, classes: int) -> Interval:
        """Macro F1 of decided windows."""
        return self.interval(self.confusions(truth, decided, classes), scores.macro_f1)
