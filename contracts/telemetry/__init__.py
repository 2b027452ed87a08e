"""Recorded telemetry: rows -> files -> episode."""

from contracts.telemetry.episode import Episode, read_episode, read_manifest, write_episode
from contracts.telemetry.manifest import FileEntry, Manifest
from contracts.telemetry.rows import ROW_TYPES, GuestRow, LabelRow, NetflowRow, ProcRow, QmpRow, Row

__all__ = [
    "ROW_TYPES",
    "Episode",
    "FileEntry",
    "GuestRow",
    "LabelRow",
    "Manifest",
    "NetflowRow",
    "ProcRow",
    "QmpRow",
    "Row",
    "read_episode",
    "read_manifest",
    "write_episode",
]
