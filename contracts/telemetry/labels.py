"""Labels of an episode that is there already: read, and put right without touching its rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from contracts.errors import LabelError
from contracts.files import sha256, write_file
from contracts.telemetry.episode import check_labels, read_manifest
from contracts.telemetry.lines import row_batches, stored_bytes
from contracts.telemetry.manifest import FileEntry, Manifest
from contracts.telemetry.rows import LabelRow
from contracts.telemetry.zstd import compress
from contracts.vocabulary import Phase

_encoder = msgspec.json.Encoder()
_NAMES = ("labels.jsonl.zst", "labels.jsonl")


def read_labels(folder: Path, manifest: Manifest) -> list[LabelRow]:
    """In order; none where the episode has no labels. Raises as `read_episode` does, for this one file."""
    name = manifest.file_of("labels")
    if name is None:
        return []
    labels: list[LabelRow] = []
    for batch in row_batches(stored_bytes(folder / name, manifest.files[name]), "labels", folder / name):
        labels += batch
    return labels


def relabel(
    folder: Path, starts: Sequence[tuple[int, Phase]], *, profile: str | None = None, sample: str | None = None
) -> Manifest:
    """Put other labels in the place of an episode's. starts: Unix ns of each phase's start, in order; the first counts
    from the episode's start. profile, sample: others than before. The manifest as written.

    The old labels are the episode's until the new ones are whole: the new file has another name, and the manifest comes
    last. Raises `LabelError`, `StorageError`, and what reading raises.
    """
    manifest = read_manifest(folder)
    if not starts:
        raise LabelError(folder, "no labels", expected="the start of a phase at least", remedy="name one")
    before = read_labels(folder, manifest)
    # one clock of two: what lies between them is known from the labels that were there
    apart = before[0].t_mono_ns - before[0].t_wall_ns if before else -manifest.started_wall_ns
    labels = [LabelRow(t_wall_ns=at, t_mono_ns=max(0, at + apart), phase=phase) for at, phase in starts]
    check_labels(labels, manifest, folder)
    old = manifest.file_of("labels")
    name = _NAMES[1] if old == _NAMES[0] else _NAMES[0]
    rows = _encoder.encode_lines(labels)
    stored = compress(rows) if name.endswith(".zst") else rows
    write_file(folder / name, stored)
    files = {known: entry for known, entry in manifest.files.items() if known != old}
    files[name] = FileEntry(sha256=sha256(stored), bytes=len(stored), rows=len(labels))
    manifest = msgspec.structs.replace(
        manifest, files=files, profile=profile or manifest.profile, sample_name=sample or manifest.sample_name
    )
    write_file(folder / "episode.json", msgspec.json.format(_encoder.encode(manifest), indent=1))
    if old is not None:
        (folder / old).unlink(missing_ok=True)
    return manifest
