"""Which recording keeps the rows around an alarm. A name depends on windows alone, so a replay says the same one."""

from __future__ import annotations

from contracts.events.envelope import rfc3339
from contracts.features.schema import SECOND

BEFORE_NS = 600 * SECOND
AFTER_NS = 300 * SECOND
"""An alarm that rises again meanwhile is in the same recording."""


class Evidence:
    """Of one watch."""

    def __init__(self, guest_id: str, *, kept: bool) -> None:
        self._guest, self._kept = guest_id, kept
        self._raised = False
        self._current: tuple[str, int] | None = None
        self._fresh: tuple[str, int] | None = None

    def name(self, end_ns: int, raised: bool) -> str | None:
        """One more window (its end, Unix ns; whether the alarm stands): the recording, if the alarm rises with it."""
        rises, self._raised = raised and not self._raised, raised
        if not rises or not self._kept:
            return None
        if self._current is None or not 0 <= end_ns - self._current[1] < AFTER_NS:
            self._current = self._fresh = f"{self._guest}-alarm-{moment(end_ns)}", end_ns
        return self._current[0]

    def take(self) -> tuple[str, int] | None:
        """A recording that was named for the first time since the last call, and the window's end."""
        fresh, self._fresh = self._fresh, None
        return fresh


def moment(wall_ns: int) -> str:
    """Unix ns as it may stand in an id: `20261125T160000.000Z`."""
    return rfc3339(wall_ns)[:23].replace("-", "").replace(":", "") + "Z"
