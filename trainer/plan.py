"""What to build: the options of `trainer build`, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contracts.bundle.keys import SigningKey
from contracts.features.schema import FeatureSchema
from trainer.fits.plan import FitPlan


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What to build, from a store of episodes or from a dataset. allow_float: ship a model that no small form keeps."""

    source: Path
    fit: FitPlan
    schema: FeatureSchema | None
    workers: int
    cluster: str | None
    degraded: bool
    key: SigningKey | None
    allow_float: bool
