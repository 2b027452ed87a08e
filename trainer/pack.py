"""Artifact -> bundle."""

from __future__ import annotations

import importlib.metadata
import io
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.bundle import BundleManifest, write_bundle
from contracts.features import FeatureSchema
from contracts.keys import SigningKey
from contracts.phases import PHASES, ThreatModel
from contracts.scorecard import Reference, Scorecard
from contracts.telemetry.storage import sha256
from trainer.architectures import Architecture
from trainer.compile.base import Compiled
from trainer.corpus.dataset import digest_of
from trainer.split import Split

GOLDEN_PER_PHASE = 2
_LIBRARIES = ("phasewatch", "numpy", "tensorflow", "keras", "xgboost", "treelite", "tl2cgen")


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """Everything that goes into one bundle. golden: windows (G, ...) and the probabilities (G, K) they gave."""

    architecture: Architecture
    threat_model: ThreatModel
    channels: tuple[str, ...]
    compiled: Compiled
    scorecard: Scorecard
    reference: Reference
    golden: tuple[NDArray[np.float32], NDArray[np.float32]]


def library_versions() -> dict[str, str]:
    """What the models were made with."""
    return {library: importlib.metadata.version(library) for library in _LIBRARIES}


def golden_rows(y: NDArray[np.int64]) -> NDArray[np.intp]:
    """Which windows serve as golden vectors: the first few of each phase."""
    return np.concatenate([np.flatnonzero(y == phase)[:GOLDEN_PER_PHASE] for phase in np.unique(y)])


def pack(parcel: Parcel, out: Path, *, schema: FeatureSchema, split: Split, seed: int, key: SigningKey | None) -> Path:
    """Write `<architecture>-<threat model>-<build id>.bundle` into a folder. Same parcel, same bytes."""
    windows, probabilities = parcel.golden
    members = {
        **parcel.compiled.members,
        "schema.json": schema.canonical(),
        "scorecard.json": msgspec.json.encode(parcel.scorecard, order="sorted"),
        "reference.json": msgspec.json.encode(parcel.reference, order="sorted"),
        "golden-windows.npy": _npy(windows),
        "golden-probabilities.npy": _npy(probabilities),
    }
    content = [f"{name} {sha256(data)}" for name, data in sorted(members.items())]
    build_id = digest_of([split.dataset_digest, split.digest, str(seed), *content])[:12]
    name = f"{parcel.architecture.name}-{parcel.threat_model}-{build_id}"
    manifest = BundleManifest(
        format=1,
        name=name,
        build_id=build_id,
        architecture=parcel.architecture.name,
        threat_model=parcel.threat_model,
        schema_hash=schema.hash,
        phases=PHASES,
        channels=parcel.channels,
        view=parcel.architecture.view,
        artifacts=parcel.compiled.artifacts,
        members={},
        abstain_below=0.0,
        tolerance=parcel.compiled.tolerance,
        recipe=split.recipe,
        seed=seed,
        corpus_digest=split.dataset_digest,
        split_digest=split.digest,
        versions=library_versions(),
    )
    path = out / f"{name}.bundle"
    write_bundle(path, manifest, members, key)
    return path


def _npy(array: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
