"""Windows decided one by one -> an alarm that does not flicker. The trainer judges models by this very rule."""

from __future__ import annotations

RAISE_AFTER = 2
"""Windows in a row of an infected phase, until there is an alarm: with a stride of 5 s, one window's blunder raises
none."""
CLEAR_AFTER = 3
"""Windows in a row of another phase, until it is over."""


class Alarm:
    """The state of one watch. Starts without an alarm."""

    def __init__(self) -> None:
        self.raised = False
        self._against = 0

    def see(self, infected: bool | None) -> bool:
        """One more window (None: the model abstained, which says nothing); whether there is an alarm now."""
        if infected is None:
            return self.raised
        self._against = self._against + 1 if infected != self.raised else 0
        if self._against >= (CLEAR_AFTER if self.raised else RAISE_AFTER):
            self.raised, self._against = not self.raised, 0
        return self.raised
