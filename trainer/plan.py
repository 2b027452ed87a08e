"""What to do: the options of `trainer fit` and `trainer build`, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contracts.features import FeatureSchema
from contracts.keys import SigningKey
from contracts.phases import ThreatModel
from trainer.split import Recipe


@dataclass(frozen=True, kw_only=True)
class Search:
    """`--tune`: settings to try per model, within what a Pi is allowed to spend on one."""

    trials: int
    max_bytes: int
    max_operations: int


@dataclass(frozen=True, kw_only=True)
class FitPlan:
    """What to fit. The first recipe and the first seed are what ships; the others say how far scores depend on them.

    command: as it was typed, for the report.
    """

    out: Path
    architectures: tuple[str, ...]
    threat_models: tuple[ThreatModel, ...]
    recipes: tuple[Recipe, ...]
    held_out: str | None
    seeds: tuple[int, ...]
    quick: bool
    search: Search | None
    command: str


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What to build, from a store of episodes or from a dataset."""

    source: Path
    fit: FitPlan
    schema: FeatureSchema | None
    workers: int
    cluster: str | None
    degraded: bool
    key: SigningKey | None
