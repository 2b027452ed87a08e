"""A hidden Markov model's forward pass (Rabiner, Proceedings of the IEEE 77, 1989, section III.A), one window a step.

What is believed of the phases is carried over to the next window by how phases follow one another, and weighed with
what the model says of that window. A model fitted with every class weighing the same gives probabilities in proportion
to the likelihoods. Quiet windows say little, so what came before decides: that is what keeps a quiet clean guest from
being called dormant.
"""

from __future__ import annotations

import math
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
        self._spec = spec
        self._ill, self._well = infected.astype(np.float64), (~infected).astype(np.float64)
        self._step = np.array(spec.transitions, np.float64)
        self._belief = np.array(spec.start, np.float64)
        self._end: int | None = None
        self.raised = after is not None and after.raised
        if isinstance(after, Forward) and after._belief.shape == self._belief.shape:
            self._belief, self._end = after._belief, after._end

    @property
    def odds(self) -> float:
        """Log odds of an infection, nats."""
        ill, well = float(self._belief @ self._ill), float(self._belief @ self._well)
        return math.log(max(ill, _LEAST)) - math.log(max(well, _LEAST))

    def see(self, window: Seen) -> Heard:
        """One more window. Without probabilities what is believed fades, and the alarm stays as it is."""
        if self._end is not None:
            self._carry_over(window.end_ns - self._end)
        self._end = window.end_ns
        if window.probabilities is not None:
            weighed = self._belief * np.maximum(window.probabilities, FLOOR)
            self._belief = weighed / weighed.sum()
            odds = self.odds
            if odds >= self._spec.raise_at:
                self.raised = True
            elif odds < self._spec.clear_below:
                self.raised = False
        return Heard(self.raised, int(self._belief.argmax()), min(1.0, float(self._belief @ self._ill)))

    def _carry_over(self, passed_ns: int) -> None:
        """As many strides as have passed; a clock that was set back is taken for one."""
        strides = min(FORGOTTEN, max(1, round(passed_ns / self._spec.stride_ns)))
        step = self._step if strides == 1 else np.linalg.matrix_power(self._step, strides)
        self._belief = self._belief @ step
