"""An episode that is being written: files that grow by whole frames, and `episode.json` at the end.

Until then the folder holds `recording.json`, a manifest without its end, so that no reader takes it for an episode, and
whoever comes after a power cut can make it whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

from contracts.decode import decoded
from contracts.errors import PhasewatchError, RowError
from contracts.files import read_file, sha256, write_file
from contracts.telemetry.episode import DRAFT, check_labels
from contracts.telemetry.lines import REDO, row_batches
from contracts.telemetry.manifest import FileEntry, Manifest
from contracts.telemetry.rows import LabelRow, arrival_ns
from contracts.telemetry.zstd import compress, expanded, whole_frames
from contracts.vocabulary import SOURCES, Source
from edge.record.frames import Batch, Frame

_log = logging.getLogger("edge")
LABELS = "labels.jsonl.zst"
JOURNAL = "marks.jsonl"
"""Labels as they are given, until the episode is whole."""
LEVEL_AT_REST = 15
"""A tenth smaller than level 10, and still 10 MB a second."""
_encoder = msgspec.json.Encoder()


class Part:
    """One folder. Every method raises `OSError` or `StorageError` when the disk will not."""

    def __init__(self, folder: Path, draft: Manifest, sources: tuple[Source, ...]) -> None:
        """draft: the manifest, but for end and files."""
        self.folder, self._draft = folder, draft
        self._until_ns = draft.started_wall_ns
        self.expanded = 0
        """Bytes of rows so far, in the source that has most of them: readers have a bound."""
        self._expanded = dict.fromkeys(sources, 0)
        self._files: dict[Source, IO[bytes]] = {}
        self._digests = {source: hashlib.sha256() for source in sources}
        self._entries = {source: FileEntry(sha256="0" * 64, bytes=0, rows=0) for source in sources}
        folder.mkdir(parents=True)  # never into one that is there
        write_file(folder / DRAFT, _encoder.encode(draft))
        try:
            for source in sources:  # also of one that stays silent: it was watched
                self._files[source] = (folder / f"{source}.jsonl.zst").open("xb")
                self._append(source, Frame(0, compress(b""), 0))
            self._sync()
        except OSError:
            self.abandon()
            raise

    @property
    def size(self) -> int:
        """Bytes so far."""
        return sum(entry.bytes for entry in self._entries.values())

    def append(self, batch: Batch) -> None:
        """A few seconds more, on disk when this returns."""
        for source, frame in batch.frames.items():
            if source in self._files:
                self._append(source, frame)
        self._sync()
        self._until_ns = batch.until_ns

    def finish(self, ended_wall_ns: int) -> None:
        """It is an episode now, which ends with its last seconds at the earliest; or nothing, if nothing came."""
        self.abandon()
        ended_wall_ns = max(ended_wall_ns, self._until_ns)
        if ended_wall_ns <= self._draft.started_wall_ns:
            remove(self.folder)
            return
        files = {
            f"{source}.jsonl.zst": msgspec.structs.replace(entry, sha256=self._digests[source].hexdigest())
            for source, entry in self._entries.items()
        }
        _whole(self.folder, msgspec.structs.replace(self._draft, ended_wall_ns=ended_wall_ns, files=files))

    def finish_labelled(self, ended_wall_ns: int, labels: Sequence[LabelRow], host: Mapping[str, object]) -> None:
        """As `finish`, with labels, and more that is known of the host now. Each file becomes one frame, which is half
        as large. Raises `LabelError`, too."""
        self.abandon()
        ended_wall_ns = max(ended_wall_ns, self._until_ns)
        draft = msgspec.structs.replace(
            self._draft, ended_wall_ns=ended_wall_ns, host={**self._draft.host, **host}, files={}
        )
        check_labels(labels, draft, self.folder / LABELS)
        files = {}
        for source, entry in self._entries.items():
            path = self.folder / f"{source}.jsonl.zst"
            files[path.name] = _store(path, b"".join(expanded(read_file(path), path)), entry.rows)
        path = self.folder / LABELS
        files[path.name] = _store(path, _encoder.encode_lines(labels), len(labels))
        _whole(self.folder, msgspec.structs.replace(draft, files=files))

    def abandon(self) -> None:
        """Close the files and leave them as they are."""
        for file in self._files.values():
            with contextlib.suppress(OSError):
                file.close()
        self._files = {}

    def _append(self, source: Source, frame: Frame) -> None:
        self._files[source].write(frame.data)
        self._digests[source].update(frame.data)
        entry = self._entries[source]
        size, rows = entry.bytes + len(frame.data), entry.rows + frame.rows
        self._entries[source] = msgspec.structs.replace(entry, bytes=size, rows=rows)
        self._expanded[source] += frame.expanded
        self.expanded = max(self._expanded.values())

    def _sync(self) -> None:
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())


def whole_again(folder: Path, ours: Callable[[Manifest], bool]) -> bool:
    """Make an episode of what a power cut left: its whole frames. False where it is not `ours`, is finished, or is not
    whole in any part, which is logged.

    Raises `OSError`, `StorageError` when the disk will not.
    """
    try:
        path = folder / DRAFT
        draft = decoded(read_file(path, 1 << 20), Manifest, path, RowError, expected="a manifest", remedy=REDO)
        if not ours(draft) or (folder / "episode.json").exists():
            return False
        last, files = draft.started_wall_ns, {}
        for source in SOURCES:
            file = folder / f"{source}.jsonl.zst"
            if file.exists():
                stored, count = whole_frames(read_file(file)), 0
                for rows in row_batches(stored, source, file):  # a few thousand at a time
                    count += len(rows)
                    last = max(last, *(arrival_ns(row) for row in rows))
                write_file(file, stored)
                files[file.name] = FileEntry(sha256=sha256(stored), bytes=len(stored), rows=count)
    except PhasewatchError as error:
        if error.exit_status != 2:  # not what was read, but the disk
            raise
        _log.warning("a recording that was cut off cannot be made whole: %s", error)
        return False
    if last <= draft.started_wall_ns:
        remove(folder)
        return False
    _whole(folder, msgspec.structs.replace(draft, ended_wall_ns=last, files=files))
    return True


def remove(folder: Path) -> None:
    """A recording of ours: its own files, and the folder if nothing else is in it. Raises `OSError`."""
    for name in ("episode.json", DRAFT, JOURNAL, *(f"{stem}.jsonl.zst" for stem in (*SOURCES, "labels"))):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # a note that somebody laid beside it stays
        folder.rmdir()


def _store(path: Path, rows: bytes, count: int) -> FileEntry:
    stored = compress(rows, LEVEL_AT_REST)
    write_file(path, stored)
    return FileEntry(sha256=sha256(stored), bytes=len(stored), rows=count)


def _whole(folder: Path, manifest: Manifest) -> None:
    write_file(folder / "episode.json", msgspec.json.format(_encoder.encode(manifest), indent=1))
    for name in (DRAFT, JOURNAL):
        (folder / name).unlink(missing_ok=True)
