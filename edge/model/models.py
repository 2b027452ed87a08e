"""The seam between an agent and its models: which one speaks now, and which rides along."""

from __future__ import annotations

from typing import Protocol

from edge.model.opened import Active


class Models(Protocol):
    """What an agent asks for its models. They change between two windows, and only in `poll`."""

    @property
    def active(self) -> Active:
        """The model that speaks."""

    @property
    def shadow(self) -> Active | None:
        """The one that rides along."""

    @property
    def on_trial(self) -> bool:
        """Whether either is not proven yet."""

    def poll(self) -> bool:
        """Call between windows. True: `active` or `shadow` is another from now on."""

    def window(self, *, late: bool) -> None:
        """One more window was looked at."""

    def drop_shadow(self, why: str) -> None:
        """The shadow failed: it rides along no more."""

    def close(self) -> None:
        """The agent ends in order."""


class Fixed:
    """One bundle for as long as the agent runs, named by whoever started it."""

    def __init__(self, active: Active) -> None:
        self.active = active
        self.shadow: Active | None = None
        self.on_trial = False

    def poll(self) -> bool:
        """Nothing changes."""
        return False

    def window(self, *, late: bool) -> None:
        """Nothing is on trial."""

    def drop_shadow(self, why: str) -> None:
        """There is none."""

    def close(self) -> None:
        """Nothing to do."""
