"""What compilation makes."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.bundle import Artifact


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """Artifacts in order of preference, the bytes of their members, and how far they may be off elsewhere."""

    artifacts: tuple[Artifact, ...]
    members: dict[str, bytes]
    tolerance: float
    quantized: bool
