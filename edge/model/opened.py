"""A bundle file to a model that may speak: verify, open, prove on the golden vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.bundle.archive import Bundle, BundleManifest, document, read_bundle
from contracts.bundle.keys import TrustedKeys
from contracts.bundle.scorecard import Bins, Reference, Scorecard
from contracts.errors import BundleError
from contracts.events.payloads import BundleRef
from contracts.features.channels import view_of
from contracts.features.schema import FeatureSchema
from contracts.vocabulary import PHASES
from edge.model.listening import Familiarity, familiarity_of, sound
from edge.runtimes import Runtime, open_runtime

_MOST_BINS = 64


@dataclass(frozen=True, kw_only=True)
class Active:
    """A model that passed every check. channels: (V,) indices of its view among the schema's channels.

    The bundle's members are used up: their megabytes are not held in memory.
    """

    bundle: Bundle
    runtime: Runtime
    scorecard: Scorecard
    reference: Reference
    ref: BundleRef
    channels: NDArray[np.intp]
    familiar: Familiarity | None
    """What it learned from; older bundles do not say."""


def activate(
    path: Path,
    schema: FeatureSchema,
    trust: TrustedKeys | None,
    *,
    allow_unsigned: bool = False,
    data: bytes | None = None,
) -> Active:
    """data: the file's bytes, where they were read already. Raises `BundleError` and its kin, `DigestError`,
    `SchemaMismatchError`; nothing is used before it is checked."""
    bundle = read_bundle(path, schema=schema, trust=trust, allow_unsigned=allow_unsigned, data=data)
    manifest = bundle.manifest
    _require_sense(manifest, schema)
    index = {channel: i for i, channel in enumerate(schema.channel_ids)}
    try:
        runtime = open_runtime(bundle)
        self_test(bundle, runtime, schema)
    except (ValueError, TypeError, RuntimeError, OSError) as error:  # what interpreters and numpy raise
        raise BundleError(
            f"bundle {manifest.name}",
            f"fails its self-test ({type(error).__name__}: {error})",
            expected="its golden vectors to come out",
            remedy="build it again",
        ) from None
    reference = _reference(bundle)
    return Active(
        bundle=msgspec.structs.replace(bundle, members={}),
        runtime=runtime,
        scorecard=_scorecard(bundle),
        reference=reference,
        ref=BundleRef(name=manifest.name, digest=bundle.digest, runtime=runtime.name, key=bundle.key),
        channels=np.array([index[channel] for channel in manifest.channels], np.intp),
        familiar=familiarity_of(bundle, (np.array(reference.mean), np.array(reference.std))),
    )


def _require_sense(manifest: BundleManifest, schema: FeatureSchema) -> None:
    """What a manifest says must be what this version means by it. Raises `BundleError`."""

    def refuse(found: str, expected: str) -> BundleError:
        return BundleError(f"bundle {manifest.name}", found, expected=expected, remedy="build it again")

    if manifest.phases != PHASES:
        raise refuse(f"phases {', '.join(manifest.phases)}", ", ".join(PHASES))
    if manifest.channels != view_of(schema.channels, manifest.threat_model):
        raise refuse(f"{len(manifest.channels)} channels", f"the view of the {manifest.threat_model} threat model")
    if manifest.filter is not None and not sound(manifest.filter, len(manifest.phases)):
        raise refuse("a filter that is none", "probabilities that sum to 1, for each phase, and an order of thresholds")
    for artifact in manifest.artifacts:
        if artifact.runtime.startswith("treelite") and manifest.view != "summary":
            raise refuse(f"{artifact.runtime} on view {manifest.view}", "trees to look at summaries")


def self_test(bundle: Bundle, runtime: Runtime, schema: FeatureSchema) -> None:
    """Run the golden vectors through the very runtime that will be used. Raises `BundleError`."""
    manifest = bundle.manifest
    where = f"bundle {manifest.name} in {runtime.name}"
    channels = len(manifest.channels)
    shape = (channels * len(schema.statistics),) if manifest.view == "summary" else (channels, schema.steps)
    windows = _array(bundle, "golden-windows.f32", shape)
    expected = _array(bundle, "golden-probabilities.f32", (len(manifest.phases),))
    if len(windows) != len(expected):
        found = f"{len(windows)} golden windows and {len(expected)} results"
        raise BundleError(where, found, expected="as many of each", remedy="build it again")
    difference = float(np.abs(runtime.predict_many(windows) - expected).max())
    if not difference <= manifest.tolerance:
        raise BundleError(
            where,
            f"golden vectors come out {difference:.2g} off",
            expected=f"at most {manifest.tolerance:g}",
            remedy="build it again, or install the runtime it was proven with",
        )


def _scorecard(bundle: Bundle) -> Scorecard:
    card = document(bundle, "scorecard.json", Scorecard)
    seen = [phase for phase in PHASES if phase in card.labels]
    square = all(len(line) == len(seen) for line in card.confusion) and len(card.confusion) == len(seen)
    tested = sorted((*card.per_class, *card.untested_classes)) == sorted(PHASES) and {*card.per_class} <= {*seen}
    if list(card.labels) != seen or not square or not tested:
        raise BundleError(
            f"{bundle.path}:scorecard.json",
            f"scores of {', '.join(card.labels)}",
            expected=f"of the phases {', '.join(PHASES)}, in this order",
            remedy="build the bundle again",
        )
    return card


def _reference(bundle: Bundle) -> Reference:
    reference, channels = document(bundle, "reference.json", Reference), len(bundle.manifest.channels)
    numbers = (reference.mean, reference.std, reference.importance)
    if any(len(some) != channels or not np.isfinite(some).all() for some in numbers) or min(reference.std) <= 0:
        raise BundleError(
            f"{bundle.path}:reference.json",
            "numbers that do not fit its channels",
            expected=f"{channels} finite means, deviations above 0, and importances",
            remedy="build the bundle again",
        )
    if reference.bins is not None and not (len(reference.bins) == channels and all(map(_is_whole, reference.bins))):
        raise BundleError(
            f"{bundle.path}:reference.json",
            "bins that do not fit its channels",
            expected=f"for {channels} channels, ascending edges and a share for each bin",
            remedy="build the bundle again",
        )
    return reference


def _is_whole(bins: Bins) -> bool:
    edges = np.array(bins.edges)
    ascending = bool(np.isfinite(edges).all() and (np.diff(edges) > 0).all())
    return ascending and len(bins.shares) == len(edges) + 1 <= _MOST_BINS


def _array(bundle: Bundle, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """(N, *shape) from a member of little-endian float32 and nothing else: its shape is what the manifest implies."""
    data, row = bundle.members.get(name, b""), 4 * math.prod(shape)
    if not data or len(data) % row:
        raise BundleError(
            f"{bundle.path}:{name}",
            f"{len(data)} bytes" if name in bundle.members else "missing",
            expected=f"a multiple of {row}: float32 of shape (N, {', '.join(map(str, shape))})",
            remedy="build the bundle again",
        )
    return np.frombuffer(data, "<f4").reshape(-1, *shape)
