"""A hidden Markov model's forward pass (Rabiner, Proceedings of the IEEE 77, 1989, section III.A), one window a step.

What is believed of the phases is carried over to the next window by how phases follow one another, and weighed with
what the model says of that window. A model fitted with every class weighing the same gives probabilities in proportion
to the likelihoods. Quiet windows say little, so what came before decides: that is what keeps a quiet clean guest from
being called dormant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from contracts.bundle.filter import Filter
from edge.alarm.seam import Alarm, Heard, Seen

FLOOR = 1e-6
"""No phase is less probable than that, whatever a model says of one window."""
_LEAST = 1e-300
FORGOTTEN = 720
"""Strides without a window after which all is forgotten: an hour. More of them would change nothing."""


@final
class Forward:
    """The state of one watch. infected: (K,) bool, which phases are an infection."""

    def __init__(self, spec: Filter, infected: NDArray[np.bool_], *, after: Alarm | None = None) -> None:
        self._spec, self._ill = spec, [i for i, one in enumerate(infected) if one]
        self._well = [i for i, one in enumerate(infected) if not one]
        self._into = _columns(spec.transitions)
        self._belief = list(spec.start)
        self._end: int | None = None
        self.raised = after is not None and after.raised
        if isinstance(after, Forward) and len(after._belief) == len(self._belief):
            self._belief, self._end = after._belief, after._end

    @property
    def odds(self) -> float:
        """Log odds of an infection, nats."""
        ill, well = (sum([self._belief[i] for i in some]) for some in (self._ill, self._well))
        return math.log(max(ill, _LEAST)) - math.log(max(well, _LEAST))

    def see(self, window: Seen) -> Heard:
        """One more window. Without probabilities what is believed fades, and the alarm stays as it is."""
        if self._end is not None:
            self._carry_over(window.end_ns - self._end)
        self._end = window.end_ns
        if window.probabilities is not None:
            said = window.probabilities.tolist()
            weighed = [b * (p if p > FLOOR else FLOOR) for b, p in zip(self._belief, said, strict=True)]
            whole = sum(weighed)
            self._belief = [one / whole for one in weighed]
            odds = self.odds
            if odds >= self._spec.raise_at:
                self.raised = True
            elif odds < self._spec.clear_below:
                self.raised = False
        belief = self._belief
        return Heard(self.raised, belief.index(max(belief)), min(1.0, sum([belief[i] for i in self._ill])))

    def _carry_over(self, passed_ns: int) -> None:
        """As many strides as have passed; a clock that was set back is taken for one."""
        strides, into = min(FORGOTTEN, max(1, round(passed_ns / self._spec.stride_ns))), self._into
        if strides > 1:
            into = _columns(np.linalg.matrix_power(np.array(self._spec.transitions), strides).tolist())
        belief = self._belief
        self._belief = [sum([b * s for b, s in zip(belief, column, strict=True)]) for column in into]


def _columns(step: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
    """By the phase that is gone to. Lists of five numbers are faster than arrays of five."""
    return list(zip(*step, strict=True))
