"""Which held-out recordings a person should see: quiet, then an infection, then the end of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from contracts.features.schema import SECOND
from contracts.telemetry.episode import find_episodes, read_manifest
from contracts.telemetry.labels import read_labels
from contracts.telemetry.manifest import Manifest
from contracts.telemetry.rows import LabelRow
from contracts.vocabulary import INFECTED

_LONG_S = 60.0
"""More quiet than that says nothing more."""


def worth_seeing(store: Path, hosts: Sequence[str]) -> list[Path]:
    """One recording of each profile on these hosts: the one that tells most, and those that tell most first."""
    best: dict[str, tuple[float, Path]] = {}
    for folder in find_episodes(store):
        manifest = read_manifest(folder)
        if manifest.host_id in hosts:
            told = _told(manifest, read_labels(folder, manifest))
            if manifest.profile not in best or told > best[manifest.profile][0]:
                best[manifest.profile] = told, folder
    return [folder for _, folder in sorted(best.values(), key=lambda one: (-one[0], one[1]))]


def _told(manifest: Manifest, labels: Sequence[LabelRow]) -> float:
    """Seconds of quiet before the first infection, of infection, and of quiet after it, none counted for more than a
    minute; 0 where one of them is missing."""
    parts, at = [0.0, 0.0, 0.0], 0
    ends = [*(label.t_wall_ns for label in labels[1:]), manifest.ended_wall_ns]
    for label, end in zip(labels, ends, strict=False):
        infected = label.phase in INFECTED
        if infected != (at == 1) and at < 2:
            at += 1
        elif infected and at == 2:
            break
        parts[at] += (end - label.t_wall_ns) / SECOND
    return sum(min(_LONG_S, part) for part in parts) if min(parts) > 0 else 0.0
