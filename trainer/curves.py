"""Learning curves."""

from __future__ import annotations

from typing import Literal

import msgspec


class Curves(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a fit went, epoch by epoch or round by round; `best` is the one whose weights were kept."""

    unit: Literal["epoch", "round"]
    loss: list[float]
    validation_loss: list[float]
    validation_f1: list[float]
    """Macro F1; empty where the architecture stops by its loss."""
    best: int
