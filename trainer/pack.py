"""Artifact -> bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from contracts.bundle import BundleManifest, write_bundle
from contracts.features import FeatureSchema
from contracts.keys import SigningKey
from contracts.scorecard import Scorecard
from contracts.telemetry.storage import sha256
from trainer.architectures import architecture_named
from trainer.compile.proven import Proven
from trainer.split import Split
from trainer.versions import library_versions


@dataclass(frozen=True, kw_only=True)
class Label:
    """What goes on every bundle of one build. temperature, abstain_below: chosen on validation, per model."""

    split: Split
    schema: FeatureSchema
    classes: tuple[str, ...]
    key: SigningKey | None


def pack(
    one: Proven, scorecard: Scorecard, label: Label, out: Path, *, temperature: float, abstain_below: float
) -> Path:
    """Write `<architecture>-<threat model>-<build id>.bundle` into a folder. The same model, the same bytes."""
    windows, probabilities = one.golden
    split, job = label.split, one.job
    members = {
        **one.compiled.members,
        "schema.json": label.schema.canonical(),
        "scorecard.json": msgspec.json.encode(scorecard, order="sorted"),
        "reference.json": msgspec.json.encode(one.reference, order="sorted"),
        "golden-windows.f32": windows.astype("<f4").tobytes(),
        "golden-probabilities.f32": probabilities.astype("<f4").tobytes(),
    }
    content = [f"{name} {sha256(data)}" for name, data in sorted(members.items())]
    believed = [str(temperature), str(abstain_below)]
    build_id = sha256("\n".join([split.dataset_digest, split.digest, str(job.seed), *believed, *content]).encode())[:12]
    name = f"{job.title}-{build_id}"
    manifest = BundleManifest(
        format=1,
        name=name,
        build_id=build_id,
        architecture=job.architecture,
        threat_model=job.threat_model,
        schema_hash=label.schema.hash,
        phases=label.classes,
        channels=job.channels,
        view=architecture_named(job.architecture).view,
        artifacts=one.compiled.artifacts,
        members={},
        temperature=temperature,
        abstain_below=abstain_below,
        tolerance=one.compiled.tolerance,
        recipe=split.recipe,
        seed=job.seed,
        corpus_digest=split.dataset_digest,
        split_digest=split.digest,
        versions=library_versions(),
    )
    path = out / f"{name}.bundle"
    write_bundle(path, manifest, members, label.key)
    return path
