"""`trainer inspect`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import msgspec

from contracts.bundle.archive import BundleManifest, document
from contracts.bundle.filter import Filter
from contracts.bundle.scorecard import Scorecard
from contracts.shell.cli import print_json
from trainer.bundle import provenance, sbom
from trainer.bundle.provenance import Provenance
from trainer.commands.options import Commands, add_trust, read_to_show, trust_of


class Inspection(msgspec.Struct, kw_only=True):
    """What `--json` prints. key: the name of the trusted key that signed it, None if nobody we know did."""

    digest: str
    key: str | None
    manifest: BundleManifest
    scorecard: Scorecard
    provenance: Provenance
    materials: msgspec.Raw
    """The software bill of materials, as it stands: CycloneDX."""


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "inspect",
        help="show what is in a bundle",
        description="Check a bundle (every digest, and the signature where its key is trusted here) and show what it "
        "says of\n"
        "itself: model, artifacts, what it was made from, and how good it is. Bundles of any feature schema can be\n"
        "looked at. One without a trusted signature, or with a revoked key, is shown too, and marked.",
        example="trainer inspect build/first/bundles/gbt-realistic-86ac36ed4e68.bundle",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a .bundle file")
    add_trust(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(work=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    bundle, signed_by = read_to_show(options.bundle, trust_of(options))
    materials = document(bundle, sbom.MEMBER, sbom.Materials)
    found = Inspection(
        digest=bundle.digest,
        key=bundle.key,
        manifest=bundle.manifest,
        scorecard=document(bundle, "scorecard.json", Scorecard),
        provenance=document(bundle, provenance.MEMBER, Provenance),
        materials=msgspec.Raw(bundle.members.get(sbom.MEMBER, b"null")),
    )
    if options.json:
        print_json(found)
    else:
        for name, value in _lines(found, signed_by, materials):
            print(f"{name:<14} {value}".rstrip())
    return 0


def _lines(found: Inspection, signed_by: str, materials: sbom.Materials) -> Iterator[tuple[str, str]]:
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
    parts, libraries = materials.metadata.component.components, materials.components
    yield "materials", f"{len(parts)} files, {len(libraries)} libraries ({sbom.MEMBER}, CycloneDX)"


def _alarm(spec: Filter | None) -> str:
    if spec is None:
        return "two infected windows in a row: no filter"
    hours = f"{spec.false_alarms} false in {spec.clean_hours:.2f} clean hours of validation"
    supports = "" if spec.supported_per_day is None else f", which support {spec.supported_per_day:.0f}"
    return f"from log odds {spec.raise_at:g} on, for {spec.budget_per_day:g} false a clean day ({hours}{supports})"
