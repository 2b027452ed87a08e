"""Artifact -> bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from contracts.bundle import familiar
from contracts.bundle.archive import BundleManifest, write_bundle
from contracts.bundle.keys import SigningKey
from contracts.bundle.scorecard import Scorecard
from contracts.features.schema import FeatureSchema
from contracts.files import sha256
from trainer.bundle import held_out, learned, provenance, sbom
from trainer.compile.prove import Proven
from trainer.split import Split
from trainer.versions import EVERYTHING, code_digest, library_versions


@dataclass(frozen=True, kw_only=True)
class Label:
    """What goes on every bundle of one build. command: see `provenance`."""

    split: Split
    schema: FeatureSchema
    classes: tuple[str, ...]
    key: SigningKey | None
    command: str
    learned: learned.Learned


def pack(one: Proven, scorecard: Scorecard, decided: held_out.HeldOut, label: Label, out: Path) -> Path:
    """Write `<architecture>-<threat model>-<build id>.bundle` into a folder. The same model, the same bytes."""
    windows, probabilities = one.golden
    split, job = label.split, one.job
    members = {
        **one.candidate.members,
        "schema.json": label.schema.canonical(),
        "scorecard.json": msgspec.json.encode(scorecard, order="sorted"),
        "reference.json": msgspec.json.encode(one.reference, order="sorted"),
        familiar.MEMBER: msgspec.json.encode(one.familiar.document, order="sorted"),
        familiar.CENTRES: one.familiar.centres.astype("<f2").tobytes(),
        "golden-windows.f32": windows.astype("<f4").tobytes(),
        "golden-probabilities.f32": probabilities.astype("<f4").tobytes(),
        held_out.MEMBER: msgspec.json.encode(decided, order="sorted"),
        learned.MEMBER: msgspec.json.encode(label.learned, order="sorted"),
        provenance.MEMBER: msgspec.json.encode(_provenance(one, scorecard, label), order="sorted"),
    }
    content = [f"{name} {sha256(data)}" for name, data in sorted(members.items())]
    believed = [str(one.temperature), str(one.abstain_below), msgspec.json.encode(one.filter).decode()]
    build_id = sha256("\n".join([split.dataset_digest, split.digest, str(job.seed), *believed, *content]).encode())[:12]
    name = f"{job.title}-{build_id}"
    members[sbom.MEMBER] = sbom.bill_of_materials(name, build_id, members, library_versions())
    manifest = BundleManifest(
        format=1,
        name=name,
        build_id=build_id,
        architecture=job.architecture,
        threat_model=job.threat_model,
        form=one.candidate.form,
        schema_hash=label.schema.hash,
        phases=label.classes,
        channels=job.channels,
        view=one.view,
        artifacts=one.candidate.artifacts,
        members={},
        temperature=one.temperature,
        abstain_below=one.abstain_below,
        filter=one.filter,
        tolerance=one.tolerance,
        recipe=split.recipe,
        seed=job.seed,
        corpus_digest=split.dataset_digest,
        split_digest=split.digest,
        versions=library_versions(),
    )
    path = out / f"{name}.bundle"
    write_bundle(path, manifest, members, label.key)
    return path


def _provenance(one: Proven, card: Scorecard, label: Label) -> provenance.Provenance:
    return provenance.Provenance(
        dataset=label.split.dataset_digest,
        schema_hash=label.schema.hash,
        split=label.split.digest,
        recipe=label.split.recipe,
        held_out=label.split.held_out,
        command=label.command,
        settings=one.settings,
        form=one.candidate.form,
        version=library_versions()["phasewatch"],
        code=code_digest(*EVERYTHING),
        libraries=provenance.libraries(),
        macro_f1=card.macro_f1,
        model_macro_f1=card.model_macro_f1,
        **provenance.made_by(),
    )
