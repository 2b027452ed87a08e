"""What runs a compiled model. The trainer proves artifacts through this very code.

`open_runtime` takes the first artifact of a bundle that this machine can run, in the bundle's own order of preference,
and the runtime says its name: nothing falls back in silence.
"""

from __future__ import annotations

import platform

from contracts.bundle.archive import Artifact, Bundle
from contracts.errors import BundleError
from edge.runtimes.runtime import Runtime
from edge.runtimes.tflite import TfliteRuntime
from edge.runtimes.treelite import GtilRuntime, NativeRuntime

RUNTIMES: tuple[type[Runtime], ...] = (TfliteRuntime, NativeRuntime, GtilRuntime)

__all__ = ["RUNTIMES", "GtilRuntime", "NativeRuntime", "Runtime", "TfliteRuntime", "open_runtime", "runtime_of"]


def open_runtime(bundle: Bundle) -> Runtime:
    """The runtime for a bundle on this machine. Raises `BundleError` if there is none."""
    reasons = []
    for artifact in bundle.manifest.artifacts:
        reason = _why_not(artifact)
        if reason is None:
            data = bundle.members[artifact.member]
            return runtime_of(artifact).load(data, classes=len(bundle.manifest.phases))
        reasons.append(f"{artifact.runtime}: {reason}")
    raise BundleError(
        f"bundle {bundle.manifest.name}",
        f"no artifact runs on this machine ({'; '.join(reasons)})",
        expected=f"one for {platform.machine()}",
        remedy="build it for this machine, or install the runtime",
    )


def runtime_of(artifact: Artifact) -> type[Runtime]:
    """The runtime that runs an artifact's kind."""
    return next(runtime for runtime in RUNTIMES if runtime.kind == artifact.runtime)


def _why_not(artifact: Artifact) -> str | None:
    """Why this machine cannot run an artifact, or None if it can."""
    if artifact.machine is not None and artifact.machine != platform.machine():
        return f"built for {artifact.machine}"
    return runtime_of(artifact).missing()
