"""What is in a bundle: what it says of itself, as a document and in words."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from contracts.bundle.archive import Bundle, BundleManifest, document
from contracts.bundle.filter import Filter
from contracts.bundle.scorecard import Scorecard
from trainer.bundle import provenance, sbom
from trainer.bundle.provenance import Provenance


class Inspection(msgspec.Struct, kw_only=True):
    """What `--json` prints. key: the name of the trusted key that signed it, None if nobody we know did."""

    digest: str
    key: str | None
    manifest: BundleManifest
    scorecard: Scorecard
    provenance: Provenance
    materials: msgspec.Raw
    """The software bill of materials, as it stands: CycloneDX."""


def inspected(bundle: Bundle) -> Inspection:
    """Raises `BundleError` for a member that is not what it should be."""
    document(bundle, sbom.MEMBER, sbom.Materials)
    return Inspection(
        digest=bundle.digest,
        key=bundle.key,
        manifest=bundle.manifest,
        scorecard=document(bundle, "scorecard.json", Scorecard),
        provenance=document(bundle, provenance.MEMBER, Provenance),
        materials=msgspec.Raw(bundle.members[sbom.MEMBER]),
    )


def in_words(found: Inspection, signed_by: str) -> Iterator[tuple[str, str]]:
    """Name and value of each line. signed_by: in words."""
    manifest, card = found.manifest, found.scorecard
    f1, alone = card.macro_f1, card.elapsed_time_alone
    yield "bundle", manifest.name
    yield "signed by", signed_by
    yield "digest", found.digest
    sees = f"{len(manifest.channels)} channels, {manifest.view}"
    yield "model", f"{manifest.architecture}, {manifest.threat_model}: {sees}"
    yield "form", f"{manifest.form}; golden vectors within {manifest.tolerance:g}"
    yield "classes", ", ".join(manifest.phases)
    yield "feature schema", manifest.schema_hash
    for artifact in manifest.artifacts:
        size = manifest.members[artifact.member].bytes
        machine = f" for {artifact.machine}" if artifact.machine else ""
        yield "artifact", f"{artifact.member}, {size} bytes, {artifact.runtime}{machine}"
    yield "decides", f"from confidence {manifest.abstain_below:g} on, at temperature {manifest.temperature:g}"
    yield "alarm", _alarm(manifest.filter)
    yield "macro F1", f"{f1.shown()} on {card.windows} windows of {card.episodes} episodes"
    yield "held out", f"{', '.join(card.held_out)} ({card.recipe})"
    yield "elapsed time", f"alone reaches {alone.value:.3f}"
    yield "per class", ", ".join(f"{name} {card.per_class[name]:.2f}" for name in card.labels if name in card.per_class)
    if card.untested_classes:
        yield "untested classes", ", ".join(card.untested_classes)
    if card.untested_profiles:
        yield "never tested", ", ".join(card.untested_profiles)
    yield "calibration", f"expected error {card.calibration_error:.3f}"
    yield "made from", f"dataset {manifest.corpus_digest}"
    yield "", f"split {manifest.split_digest}, seed {manifest.seed}"
    made = found.provenance
    yield "made by", made.command
    yield "made with", ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
    yield "", f"Python {made.python} on {made.machine}, where it was proven; code {made.code[:12]}…"
    yield "settings", ", ".join(f"{name} {value:g}" for name, value in made.settings.items())
    materials = msgspec.json.decode(found.materials, type=sbom.Materials)
    parts, libraries = materials.metadata.component.components, materials.components
    yield "materials", f"{len(parts)} files, {len(libraries)} libraries ({sbom.MEMBER}, CycloneDX)"


def _alarm(spec: Filter | None) -> str:
    if spec is None:
        return "two infected windows in a row: no filter"
    hours = f"{spec.false_alarms} false in {spec.clean_hours:.2f} clean hours of validation"
    supports = "" if spec.supported_per_day is None else f", which support {spec.supported_per_day:.0f}"
    return f"from log odds {spec.raise_at:g} on, for {spec.budget_per_day:g} false a clean day ({hours}{supports})"
