"""What to build: the options of `trainer build`, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contracts.features import FeatureSchema
from contracts.keys import SigningKey
from contracts.phases import ThreatModel
from trainer.architectures import Architecture
from trainer.split import Recipe


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What to build."""

    store: Path
    out: Path
    architectures: tuple[Architecture, ...]
    threat_models: tuple[ThreatModel, ...]
    schema: FeatureSchema
    recipe: Recipe
    held_out: str | None
    seed: int
    quick: bool
    workers: int
    cluster: str | None
    degraded: bool
    key: SigningKey | None
