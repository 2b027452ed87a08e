"""`trainer inspect`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from contracts.bundle import Bundle, BundleManifest, read_bundle
from contracts.errors import BundleError
from contracts.keys import load_trusted_keys
from contracts.paths import trust_folder
from contracts.scorecard import Scorecard
from trainer.commands.options import Commands


class Inspection(msgspec.Struct, kw_only=True):
    """What `--json` prints. key: the name of the trusted key that signed it, None if nobody we know did."""

    digest: str
    key: str | None
    manifest: BundleManifest
    scorecard: Scorecard


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "inspect",
        help="show what is in a bundle",
        description="Check a bundle (every digest, and the signature where its key is trusted here) and show what it "
        "says of\n"
        "itself: model, artifacts, what it was made from, and how good it is. Bundles of any feature schema can be\n"
        "looked at; one that nobody trusted has signed is shown too, and said to be.",
        example="trainer inspect build/first/bundles/gbt-realistic-86ac36ed4e68.bundle",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a .bundle file")
    parser.add_argument("--trust", type=Path, metavar="DIR", help=f"folder of trusted keys (default: {trust_folder()})")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(work=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    folder = options.trust or trust_folder()
    trust = load_trusted_keys(folder) if options.trust or folder.is_dir() else None
    bundle = read_bundle(options.bundle, schema=None, trust=trust, allow_unsigned=True)
    found = Inspection(digest=bundle.digest, key=bundle.key, manifest=bundle.manifest, scorecard=_scorecard(bundle))
    if options.json:
        sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    else:
        for name, value in _lines(found):
            print(f"{name:<14} {value}".rstrip())
    return 0


def _scorecard(bundle: Bundle) -> Scorecard:
    """Raises `BundleError`."""
    try:
        return msgspec.json.decode(bundle.members.get("scorecard.json", b""), type=Scorecard)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(
            f"{bundle.path}:scorecard.json", str(error), expected="a scorecard", remedy="build the bundle again"
        ) from None


def _lines(found: Inspection) -> Iterator[tuple[str, str]]:
    manifest, card = found.manifest, found.scorecard
    f1, alone = card.macro_f1, card.elapsed_time_alone
    yield "bundle", manifest.name
    yield "signed by", found.key or "NOBODY that is trusted here"
    yield "digest", found.digest
    sees = f"{len(manifest.channels)} channels, {manifest.view}"
    yield "model", f"{manifest.architecture}, {manifest.threat_model}: {sees}"
    yield "classes", ", ".join(manifest.phases)
    yield "feature schema", manifest.schema_hash
    for artifact in manifest.artifacts:
        size = manifest.members[artifact.member].bytes
        machine = f" for {artifact.machine}" if artifact.machine else ""
        yield "artifact", f"{artifact.member}, {size} bytes, {artifact.runtime}{machine}"
    yield "decides", f"from confidence {manifest.abstain_below:g} on, at temperature {manifest.temperature:g}"
    interval = "" if f1.low is None or f1.high is None else f" [{f1.low:.3f}, {f1.high:.3f}]"
    yield "macro F1", f"{f1.value:.3f}{interval} on {card.windows} windows of {card.episodes} episodes"
    yield "held out", f"{', '.join(card.held_out)} ({card.recipe})"
    yield "elapsed time", f"alone reaches {alone.value:.3f}"
    yield "per class", ", ".join(f"{name} {card.per_class[name]:.2f}" for name in card.labels)
    if card.untested_profiles:
        yield "never tested", ", ".join(card.untested_profiles)
    yield "calibration", f"expected error {card.calibration_error:.3f}"
    yield "made from", f"dataset {manifest.corpus_digest}"
    yield "", f"split {manifest.split_digest}, seed {manifest.seed}"
    yield "made with", ", ".join(f"{name} {version}" for name, version in manifest.versions.items())
