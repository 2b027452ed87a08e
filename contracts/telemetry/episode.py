"""An episode on disk: one reader, one writer, plain or zstd.

<store>/<host_id>/<episode_id>/episode.json
<store>/<host_id>/<episode_id>/{proc,qmp,guest,netflow,labels}.jsonl[.zst]
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from contracts.decode import decoded
from contracts.errors import ClockError, CountError, LabelError, MissingError, RowError
from contracts.files import read_file, sha256, write_file
from contracts.telemetry.lines import REDO, row_batches, stored_bytes
from contracts.telemetry.manifest import FileEntry, Manifest
from contracts.telemetry.rows import LabelRow, Row
from contracts.telemetry.zstd import compress
from contracts.vocabulary import SOURCES, Source

_SECOND = 1_000_000_000
MAX_SPAN_NS = 31 * 86_400 * _SECOND
_UNSET_NS = 946_684_800 * _SECOND
"""The year 2000: a clock that shows less was not set yet."""

DRAFT = "recording.json"
"""In the folder of an episode that is being recorded, or was when its recorder ended."""
_encoder = msgspec.json.Encoder()


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """One recording, read and checked. A source that was never recorded is absent from `rows`."""

    path: Path
    manifest: Manifest
    rows: dict[Source, list[Row]]
    labels: list[LabelRow]

    @property
    def missing(self) -> tuple[Source, ...]:
        """The sources that were not recorded."""
        return tuple(source for source in SOURCES if source not in self.rows)


def read_manifest(folder: Path) -> Manifest:
    """`episode.json` of one episode.

    Raises `MissingError`, `UnreadableError`, `BoundError`, `RowError`, `ClockError`.
    """
    return read_manifest_and_digest(folder)[0]


def read_manifest_and_digest(folder: Path) -> tuple[Manifest, str]:
    """`episode.json`, and the sha256 of the bytes that it was read from. Raises as `read_manifest`."""
    path = folder / "episode.json"
    data = read_file(path, 1 << 20)
    manifest = decoded(data, Manifest, path, RowError, expected="an episode manifest of format 1", remedy=REDO)
    for stem in (*SOURCES, "labels"):
        names = [name for name in manifest.files if name.partition(".")[0] == stem]
        if len(names) > 1:
            raise RowError(path, f"both {' and '.join(names)}", expected=f"one file of {stem}", remedy=REDO)
    _check_span(manifest, path)
    return manifest, sha256(data)


def _check_span(manifest: Manifest, path: Path) -> None:
    start, span = manifest.started_wall_ns, manifest.ended_wall_ns - manifest.started_wall_ns
    if span < 0:
        raise _wrong_clock(path, f"ends {-span / _SECOND:.3f} s before it starts")
    if span == 0:
        raise RowError(path, "ended_wall_ns equal to started_wall_ns", expected="a later end", remedy=REDO)
    if span > MAX_SPAN_NS:
        days = f"{span / (86_400 * _SECOND):.0f} days"
        if start < _UNSET_NS:
            moment = datetime.datetime.fromtimestamp(start // _SECOND, datetime.UTC)
            raise _wrong_clock(path, f"starts at {moment:%Y-%m-%dT%H:%M:%SZ} and lasts {days}")
        remedy = "split it, or, if it was shorter, wait for the clock to be set, then record it again"
        raise RowError(path, f"an episode of {days}", expected="31 at most", remedy=remedy)


def _wrong_clock(where: object, found: str) -> ClockError:
    return ClockError(
        where,
        found,
        expected="a clock that was set before recording began",
        remedy="wait for the clock to be set, then record it again",
    )


def read_episode(folder: Path, *, allow_missing: bool = False) -> Episode:
    """One episode, whole: digests, row counts, the schema of every row, and the order of the labels are checked.

    `allow_missing` lets an episode pass that lacks a source; its channels are then not observed.

    Raises `MissingError`, `TornError`, `DigestError`, `RowError`, `LabelError`, `ClockError`.
    """
    manifest = read_manifest(folder)
    if not allow_missing:
        for source in SOURCES:
            if manifest.file_of(source) is None:
                raise MissingError(
                    folder / "episode.json",
                    f"no {source} file",
                    expected=f"rows of {', '.join(SOURCES)}",
                    remedy="record it again, leave it out, or say --allow-missing-source",
                )
    rows: dict[Source, list[Row]] = {}
    for source in SOURCES:
        name = manifest.file_of(source)
        if name is not None:
            rows[source] = _read_rows(folder / name, source, manifest.files[name])
    name = manifest.file_of("labels")
    labels = [] if name is None else _read_rows(folder / name, "labels", manifest.files[name])
    if name is not None:
        check_labels(labels, manifest, folder / name)
    return Episode(path=folder, manifest=manifest, rows=rows, labels=labels)


def _read_rows(path: Path, stem: str, entry: FileEntry) -> list[Any]:
    rows: list[Any] = []
    for batch in row_batches(stored_bytes(path, entry), stem, path):
        rows += batch
    check_count(path, len(rows), entry)
    return rows


def check_count(path: Path, rows: int, entry: FileEntry) -> None:
    """As many rows as the manifest says. Raises `CountError`."""
    if rows != entry.rows:
        raise CountError(path, f"{rows} rows", expected=f"{entry.rows}, as episode.json says", remedy=REDO)


def check_labels(labels: Sequence[LabelRow], manifest: Manifest, path: Path) -> None:
    """Labels lie inside their episode, one after the other.

    Raises `LabelError`, or `ClockError` if they would by their monotonic clock: then the wall clock was set.
    """
    if not labels:
        raise LabelError(path, "no labels", expected="a row at the start of each phase", remedy=REDO)
    start, end = manifest.started_wall_ns, manifest.ended_wall_ns
    before: LabelRow | None = None
    for number, label in enumerate(labels, start=1):
        inside = start <= label.t_wall_ns < end
        later = before is None or label.t_wall_ns > before.t_wall_ns
        if before is not None and label.t_mono_ns > before.t_mono_ns:
            step = label.t_wall_ns - before.t_wall_ns - (label.t_mono_ns - before.t_mono_ns)
            if not later or (not inside and start <= label.t_wall_ns - step < end):
                raise _wrong_clock(
                    f"{path}:{number}",
                    f"{label.phase}: the wall clock was set {'back' if step < 0 else 'forward'} by "
                    f"{abs(step) / _SECOND:.3f} s since the label before it",
                )
        if not inside:
            raise LabelError(
                f"{path}:{number}",
                f"{label.phase} at {label.t_wall_ns}, outside the episode",
                expected=f"a time from {start} to {end}",
                remedy=REDO,
            )
        if not later:
            raise LabelError(
                f"{path}:{number}",
                f"{label.phase} at {label.t_wall_ns}, not after the label before it",
                expected="labels in order of time",
                remedy=REDO,
            )
        before = label


def write_episode(
    folder: Path,
    manifest: Manifest,
    rows: Mapping[Source, Sequence[Row]],
    labels: Sequence[LabelRow],
    *,
    zstd: bool = True,
) -> Manifest:
    """Write an episode; `episode.json` comes last, so that an interrupted one is never taken for whole.

    `manifest.files` is made anew and the manifest as written is returned. Raises `StorageError`, `LabelError`,
    `ClockError`.
    """
    if labels:
        check_labels(labels, manifest, folder / "labels.jsonl")
    files: dict[str, FileEntry] = {}
    everything: dict[str, Sequence[Row] | Sequence[LabelRow]] = {source: rows[source] for source in rows}
    if labels:
        everything["labels"] = labels
    for stem, some in everything.items():
        data = _encoder.encode_lines(some)
        stored, name = (compress(data), f"{stem}.jsonl.zst") if zstd else (data, f"{stem}.jsonl")
        write_file(folder / name, stored)
        files[name] = FileEntry(sha256=sha256(stored), bytes=len(stored), rows=len(some))
    manifest = msgspec.structs.replace(manifest, files=files)
    write_file(folder / "episode.json", msgspec.json.format(_encoder.encode(manifest), indent=1))
    return manifest


def find_episodes(store: Path) -> list[Path]:
    """The folders of a store's episodes, in order of host and id. Raises `MissingError` if there is none."""
    found = sorted(path.parent for path in store.glob("*/*/episode.json")) if store.is_dir() else []
    if not found:
        raise no_episode(store)
    return found


def no_episode(store: Path) -> MissingError:
    """What is said of a store without any."""
    return MissingError(
        store,
        "an empty store" if store.is_dir() else "no such folder",
        expected="<host_id>/<episode_id>/episode.json",
        remedy="point at a folder of recorded episodes, such as tests/corpus",
    )
