"""What to fit: the options of `trainer fit`, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ConfigError
from contracts.features.channels import Channel, view_of
from contracts.vocabulary import ThreatModel
from trainer.dataset.dataset import Dataset
from trainer.fits.record import relative
from trainer.split import Recipe, make_split


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


def require_fit(dataset: Dataset, plan: FitPlan) -> None:
    """Refuse a dataset that cannot be fitted to as planned, before anything is written.

    Raises `ConfigError` for a threat model that would see nothing and for a name that cannot be noted down,
    `DatasetError` for a split that it cannot support.
    """
    relative(dataset.path, plan.out)
    require_views(dataset.path, dataset.schema.channels, plan.threat_models)
    for recipe in plan.recipes:
        make_split(dataset, recipe, plan.held_out)


def require_views(where: object, channels: tuple[Channel, ...], threat_models: tuple[ThreatModel, ...]) -> None:
    """Refuse a threat model that would see nothing. Raises `ConfigError`."""
    for threat_model in threat_models:
        if not view_of(channels, threat_model):
            raise ConfigError(
                where,
                f"no channel that {threat_model} may see",
                expected="one",
                remedy="add one, or leave that threat model out",
            )
