"""What runs a compiled model. The trainer proves artifacts through this very code.

`open_runtime` takes the first artifact of a bundle that this machine can run, in the bundle's own order of preference,
and the runtime says its name: nothing falls back in silence.
"""

from __future__ import annotations

import platform

from contracts.bundle import Artifact, Bundle, BundleManifest
from contracts.errors import BundleError
from edge.runtimes.base import Runtime
from edge.runtimes.tflite import TfliteRuntime
from edge.runtimes.treelite import GtilRuntime, NativeRuntime

RUNTIMES: tuple[type[Runtime], ...] = (TfliteRuntime, NativeRuntime, GtilRuntime)

__all__ = ["RUNTIMES", "GtilRuntime", "NativeRuntime", "Runtime", "TfliteRuntime", "open_artifact", "open_runtime"]


def open_runtime(bundle: Bundle) -> Runtime:
    """The runtime for a bundle on this machine. Raises `BundleError` if there is none."""
    reasons = []
    for artifact in bundle.manifest.artifacts:
        reason = _why_not(artifact)
        if reason is None:
            return open_artifact(artifact, bundle.manifest, bundle.members[artifact.member])
        reasons.append(f"{artifact.runtime}: {reason}")
    raise BundleError(
        f"bundle {bundle.manifest.name}",
        f"no artifact runs on this machine ({'; '.join(reasons)})",
        expected=f"one for {platform.machine()}",
        remedy="build it for this machine, or install the runtime",
    )


def open_artifact(artifact: Artifact, manifest: BundleManifest, data: bytes) -> Runtime:
    """The runtime for one artifact. Raises `BundleError` if its bytes will not load."""
    kind = next(kind for kind in RUNTIMES if kind.kind == artifact.runtime)
    return kind.load(data, inputs=len(manifest.channels), classes=len(manifest.phases))


def _why_not(artifact: Artifact) -> str | None:
    """Why this machine cannot run an artifact, or None if it can."""
    if artifact.machine is not None and artifact.machine != platform.machine():
        return f"built for {artifact.machine}"
    kind = next(kind for kind in RUNTIMES if kind.kind == artifact.runtime)
    return kind.missing()
