"""Fits as jobs: architecture x threat model x recipe x seed x variant, on whatever runs them.

A job names what it needs and nothing of this process, so that any worker that shares the folders can do it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from contracts.vocabulary import ThreatModel

FULL, STEADY = "full", "steady"
"""Variants: all channels of the threat model, and without those that creep or warm up (see fits/creeping)."""
KEPT = "kept from an earlier run"


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fit. `channels`: what it sees; `settings`: departures from the architecture's defaults."""

    architecture: str
    threat_model: ThreatModel
    recipe: str
    variant: str = FULL
    seed: int
    quick: bool
    channels: tuple[str, ...]
    settings: dict[str, float] = {}

    @property
    def title(self) -> str:
        """`gbt-realistic` and the like."""
        return f"{self.architecture}-{self.threat_model}"

    @property
    def study(self) -> str:
        """What a search for settings is about: one for all variants and seeds of a model, under one recipe."""
        return f"{self.recipe}-{self.title}"

    @property
    def name(self) -> str:
        """What sets it apart from all others of one build: the path of its checkpoint below `checkpoints`."""
        return f"{self.recipe}/{self.title}/{self.variant}-{self.seed}"


def split_path(out: Path, recipe: str) -> Path:
    """Where a build keeps its splits."""
    return out / f"split-{recipe}.json"
