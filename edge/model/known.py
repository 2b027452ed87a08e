"""What is known about a window without asking a model."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.vocabulary import Phase


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a recording knows about a window: its phase, and the share of the window that lies in it."""

    phase: Phase
    purity: float
