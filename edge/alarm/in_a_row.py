"""The alarm of bundles without a filter: windows decided one by one -> an alarm that does not flicker."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from edge.alarm.seam import Heard, Seen

RAISE_AFTER = 2
"""Windows in a row of an infected phase, until there is an alarm: with a stride of 5 s, one window's blunder raises
none."""
CLEAR_AFTER = 3
"""Windows in a row of another phase, until it is over."""


@final
class InARow:
    """The state of one watch. infected: (K,) bool, which classes are an infection."""

    def __init__(self, infected: NDArray[np.bool_], *, raised: bool = False) -> None:
        self.raised = raised
        self._infected, self._against = infected, 0

    def see(self, window: Seen) -> Heard:
        """One more window. An abstention says nothing."""
        if window.decided is not None:
            infected = bool(self._infected[window.decided])
            self._against = self._against + 1 if infected != self.raised else 0
            if self._against >= (CLEAR_AFTER if self.raised else RAISE_AFTER):
                self.raised, self._against = not self.raised, 0
        return Heard(self.raised)
