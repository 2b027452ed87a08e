"""A bundle file to a model that may speak: verify, open, prove on the golden vectors."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.bundle import Bundle, read_bundle
from contracts.errors import BundleError
from contracts.events import BundleRef
from contracts.features import FeatureSchema
from contracts.keys import TrustedKeys
from contracts.scorecard import Reference, Scorecard
from edge.runtimes import Runtime, open_runtime

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Active:
    """A model that passed every check. channels: (V,) indices of its view among the schema's channels."""

    bundle: Bundle
    runtime: Runtime
    scorecard: Scorecard
    reference: Reference
    ref: BundleRef
    channels: NDArray[np.intp]


def activate(path: Path, schema: FeatureSchema, trust: TrustedKeys | None, *, allow_unsigned: bool = False) -> Active:
    """Raises `BundleError` and its kin, `DigestError`, `SchemaMismatchError`; nothing is used before it is checked."""
    bundle = read_bundle(path, schema=schema, trust=trust, allow_unsigned=allow_unsigned)
    manifest = bundle.manifest
    index = {channel: i for i, channel in enumerate(schema.channel_ids)}
    unknown = [channel for channel in manifest.channels if channel not in index]
    if unknown:
        raise BundleError(
            f"bundle {manifest.name}", f"channel {unknown[0]}", expected="channels of its schema", remedy="rebuild it"
        )
    runtime = open_runtime(bundle)
    self_test(bundle, runtime)
    return Active(
        bundle=bundle,
        runtime=runtime,
        scorecard=_document(bundle, "scorecard.json", Scorecard),
        reference=_document(bundle, "reference.json", Reference),
        ref=BundleRef(name=manifest.name, digest=bundle.digest, runtime=runtime.name, key=bundle.key),
        channels=np.array([index[channel] for channel in manifest.channels], np.intp),
    )


def self_test(bundle: Bundle, runtime: Runtime) -> None:
    """Run the golden vectors through the very runtime that will be used. Raises `BundleError`."""
    where = f"bundle {bundle.manifest.name} in {runtime.name}"
    windows, expected = _array(bundle, "golden-windows.npy"), _array(bundle, "golden-probabilities.npy")
    if len(windows) == 0 or len(windows) != len(expected):
        raise BundleError(where, "no golden vectors", expected="a window of each phase", remedy="build it again")
    found = runtime.predict_many(windows)
    difference = float(np.abs(found - expected).max())
    if not difference <= bundle.manifest.tolerance:
        raise BundleError(
            where,
            f"golden vectors come out {difference:.2g} off",
            expected=f"at most {bundle.manifest.tolerance:g}",
            remedy="build it again, or install the runtime it was proven with",
        )


def _document(bundle: Bundle, name: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(bundle.members[name], type=kind)
    except KeyError:
        found = "missing"
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        found = str(error)
    raise BundleError(f"{bundle.path}:{name}", found, expected=f"a {name}", remedy="build the bundle again")


def _array(bundle: Bundle, name: str) -> NDArray[np.float32]:
    try:
        array: NDArray[np.float32] = np.load(io.BytesIO(bundle.members[name]), allow_pickle=False)
        return array
    except KeyError:
        found = "missing"
    except (ValueError, EOFError) as error:
        found = f"unreadable ({error})"
    raise BundleError(f"{bundle.path}:{name}", found, expected="an array", remedy="build the bundle again")
