"""What to build: the options of `trainer build`, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contracts.features import FeatureSchema
from contracts.keys import SigningKey
from contracts.phases import ThreatModel
from trainer.architectures import Architecture


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What to build."""

    store: Path
    out: Path
    architectures: tuple[Architecture, ...]
    threat_models: tuple[ThreatModel, ...]
    schema: FeatureSchema
    held_out: str | None
    seed: int
    quick: bool
    workers: int
    allow_missing: bool
    key: SigningKey | None
