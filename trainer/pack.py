"""Artifact -> bundle."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.bundle import BundleManifest, write_bundle
from contracts.phases import PHASES, ThreatModel
from contracts.scorecard import Reference, Scorecard
from contracts.telemetry.storage import sha256
from trainer.architectures import Architecture
from trainer.compile.base import Compiled
from trainer.compile.parity import Run
from trainer.corpus.samples import Samples
from trainer.plan import BuildPlan
from trainer.split import Split

GOLDEN_PER_PHASE = 2
_LIBRARIES = ("phasewatch", "numpy", "tensorflow", "keras", "xgboost", "treelite", "tl2cgen")


@dataclass(frozen=True, kw_only=True)
class Built:
    """One model on its way: fitted, compiled, proven and scored, not yet packed.

    runs: every artifact in every runtime on the held-out windows `test`, the one that ships first.
    expected: (N, K) of the model itself on the same windows.
    """

    architecture: Architecture
    threat_model: ThreatModel
    channels: tuple[str, ...]
    compiled: Compiled
    runs: list[Run]
    scorecard: Scorecard
    reference: Reference
    test: Samples
    expected: NDArray[np.float32]

    @property
    def title(self) -> str:
        """`gbt-realistic` and the like."""
        return f"{self.architecture.name}-{self.threat_model}"


def library_versions() -> dict[str, str]:
    """What the models were made with."""
    return {library: importlib.metadata.version(library) for library in _LIBRARIES}


def pack(one: Built, scorecard: Scorecard, out: Path, split: Split, plan: BuildPlan) -> Path:
    """Write `<architecture>-<threat model>-<build id>.bundle` into a folder. The same model, the same bytes.

    Golden vectors are the first few held-out windows of each phase, and what the shipped artifact made of them.
    """
    y = one.test.y
    golden = np.concatenate([np.flatnonzero(y == phase)[:GOLDEN_PER_PHASE] for phase in np.unique(y)])
    members = {
        **one.compiled.members,
        "schema.json": plan.schema.canonical(),
        "scorecard.json": msgspec.json.encode(scorecard, order="sorted"),
        "reference.json": msgspec.json.encode(one.reference, order="sorted"),
        "golden-windows.f32": one.test.x[golden].astype("<f4").tobytes(),
        "golden-probabilities.f32": one.runs[0].probabilities[golden].astype("<f4").tobytes(),
    }
    content = [f"{name} {sha256(data)}" for name, data in sorted(members.items())]
    build_id = sha256("\n".join([split.dataset_digest, split.digest, str(plan.seed), *content]).encode())[:12]
    name = f"{one.title}-{build_id}"
    manifest = BundleManifest(
        format=1,
        name=name,
        build_id=build_id,
        architecture=one.architecture.name,
        threat_model=one.threat_model,
        schema_hash=plan.schema.hash,
        phases=PHASES,
        channels=one.channels,
        view=one.architecture.view,
        artifacts=one.compiled.artifacts,
        members={},
        abstain_below=0.0,
        tolerance=one.compiled.tolerance,
        recipe=split.recipe,
        seed=plan.seed,
        corpus_digest=split.dataset_digest,
        split_digest=split.digest,
        versions=library_versions(),
    )
    path = out / f"{name}.bundle"
    write_bundle(path, manifest, members, plan.key)
    return path
