"""A second model that rides along: it sees the same windows, says what it would decide, and decides nothing.

The first one's events are those it would have sent alone, but for the field that the shadow speaks in.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from contracts.events.payloads import Interval, Latency, ShadowCost, ShadowScore, ShadowWindow
from contracts.features.schema import FeatureSchema
from contracts.vocabulary import PHASES, Phase
from edge import scores
from edge.extract import Windows
from edge.model.detector import Detector
from edge.model.opened import Active
from edge.model.timings import Timings

BLOCK = 60
"""Windows of one watch that are drawn together: five minutes, at first. Neighbours are no independent evidence."""
_BLOCKS = 288
_SEED = 0


class Shadow:
    """One model beside another."""

    def __init__(self, active: Active, schema: FeatureSchema) -> None:
        self.active = active
        self._detector = Detector(active, schema)
        self._inference = Timings()
        self._blocks: list[list[int]] = []  # [windows, disagreements]
        self._size = BLOCK
        self._episode: list[tuple[int, int, int]] = []  # truth, the first one's decision, mine
        self._confusions: dict[str, NDArray[np.int64]] = {}

    def begin(self) -> None:
        """A watch begins."""
        self._open_block()
        self._episode = []

    def _open_block(self) -> None:
        """One more; too many are joined two by two, so that a long watch costs no more than a day's."""
        if len(self._blocks) >= _BLOCKS:
            pairs = zip(self._blocks[::2], self._blocks[1::2], strict=True)
            self._blocks = [[one[0] + other[0], one[1] + other[1]] for one, other in pairs]
            self._size *= 2
        self._blocks.append([0, 0])

    def look(self, windows: Windows, decided: Phase | None, truth: Phase | None, first: int | None) -> ShadowWindow:
        """The same window. decided: what the first one decided; first: its most probable class, if it chose one."""
        began = time.perf_counter()
        probabilities = self._detector.probabilities(windows)
        self._inference.add((time.perf_counter() - began) * 1000)
        mine = self._detector.decided(windows, probabilities)
        if not self._blocks or self._blocks[-1][0] >= self._size:
            self._open_block()
        self._blocks[-1][0] += 1
        self._blocks[-1][1] += mine != decided
        chosen = scores.choice(probabilities)
        if truth is not None and first is not None and chosen is not None:
            self._episode.append((PHASES.index(truth), first, chosen))
        return ShadowWindow(bundle=self.active.ref, probabilities=self._detector.said(probabilities), decided=mine)

    def end(self, episode_id: str) -> ShadowScore | None:
        """A watch ends: how the two compare where truth was known, over all watches so far."""
        if self._episode:
            truth, first, mine = np.array(self._episode, np.int64).T
            both = [
                scores.confusions(truth, one, np.zeros(len(truth), np.int64), len(PHASES))[0] for one in (mine, first)
            ]
            self._confusions[episode_id] = np.stack(both)
        if not self._confusions:
            return None
        mine, first = np.stack(list(self._confusions.values()), axis=1)
        return ShadowScore(
            bundle=self.active.ref,
            windows=int(mine.sum()),
            macro_f1=scores.f1_interval(mine, seed=_SEED),
            difference=scores.paired_interval(mine, first, seed=_SEED),
            disagreement=self.disagreement(),
        )

    def disagreement(self) -> Interval:
        """Share of windows on which the two decide unlike."""
        counts = np.array([block for block in self._blocks if block[0]], np.int64).reshape(-1, 2)
        return scores.rate_interval(counts, seed=_SEED)

    def cost(self) -> ShadowCost:
        """Since it was last asked for; windows and disagreement are over all."""
        took: Latency = self._inference.take()
        return ShadowCost(
            bundle=self.active.ref,
            inference_ms=took,
            windows=sum(windows for windows, _ in self._blocks),
            disagreement=self.disagreement(),
        )
