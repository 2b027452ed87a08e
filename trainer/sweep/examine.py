"""One episode under the lens: everything that is right and wrong with it, without giving up at the first fault."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from contracts.errors import (
    BoundError,
    ClockError,
    CountError,
    DigestError,
    LabelError,
    MissingError,
    PhasewatchError,
    RowError,
    TornError,
    UnreadableError,
)
from contracts.features.schema import SECOND, feature_schema
from contracts.telemetry.episode import DRAFT, check_count, check_labels, read_manifest_and_digest
from contracts.telemetry.lines import REDO
from contracts.telemetry.manifest import FileEntry, Manifest
from contracts.telemetry.rows import LabelRow
from contracts.vocabulary import SOURCES, Source
from edge.extract.windows import window_ends
from trainer.sweep.checks import (
    ENOUGH,
    HALF,
    MOST_LABELS,
    MOST_WINDOWS,
    SourceFacts,
    Track,
    flow_facts,
    sampled_facts,
    too_many,
)
from trainer.sweep.finding import Finding, fingerprint, relative, without_manifest
from trainer.sweep.identity import MOST_BOOTS, boots_of, content_of, sketch_of
from trainer.sweep.reasons import Reason, brief, worst
from trainer.sweep.stored_rows import batches_of
from trainer.workers.no_gc import no_collection


@dataclass
class Recording:
    """What the sweep keeps of an episode while it judges it."""

    manifest: Manifest
    tracks: dict[Source, Track] = field(default_factory=dict)
    labels: list[LabelRow] = field(default_factory=list)
    boot_ids: set[str] = field(default_factory=set)


def examine(folder: Path) -> Finding:
    """The finding on one episode. Never raises for what is wrong with the episode."""
    mark = fingerprint(folder)
    try:
        return _examined(folder, mark)
    except Exception as error:  # whatever it is: one episode never stops the sweep
        text = f"{type(error).__name__}: {error.strerror if isinstance(error, OSError) else error}"
        return without_manifest(folder, mark, Reason("failed", "", brief(text)))


def _examined(folder: Path, mark: str) -> Finding:
    try:
        if folder.is_symlink() or folder.parent.is_symlink():
            raise UnreadableError(folder, "a symbolic link", expected="a folder", remedy="put the folder itself there")
        manifest, manifest_sha256 = read_manifest_and_digest(folder)
    except UnreadableError as error:
        return without_manifest(folder, mark, Reason("manifest-unreadable", "", brief(error.found)))
    except MissingError as error:
        if (folder / DRAFT).is_file():
            return without_manifest(folder, mark, Reason("unfinished", "", f"{DRAFT} is there, and no episode.json"))
        return without_manifest(folder, mark, Reason("manifest-missing", "", brief(error.found)))
    except ClockError as error:
        return without_manifest(folder, mark, Reason("clock-wrong", "", brief(error.found)))
    except PhasewatchError as error:
        return without_manifest(folder, mark, Reason("manifest-invalid", "", brief(error.found)))

    reasons: list[Reason] = []
    if (manifest.host_id, manifest.episode_id) != (folder.parent.name, folder.name):
        ids = f"host {manifest.host_id}, episode {manifest.episode_id}"
        reasons.append(Reason("misplaced", "", f"{ids}, in the folder {relative(folder)}"))
    schema = feature_schema()
    recording = Recording(manifest)
    reasons += _read_files(folder, recording)
    facts, faults = _judged(recording)
    reasons += faults
    windows = len(window_ends(manifest.started_wall_ns, manifest.ended_wall_ns, schema))
    labelled_ns = manifest.ended_wall_ns - max(
        manifest.started_wall_ns, recording.labels[0].t_wall_ns if recording.labels else 0
    )
    if windows > MOST_WINDOWS:
        reasons.append(Reason("bound", "", f"{windows} windows, {MOST_WINDOWS} at most: split it"))
    if windows == 0 or labelled_ns < schema.window_ns:
        took = f"{labelled_ns / SECOND:.1f} s, a window takes {schema.window_ns / SECOND:.1f} s"
        reasons.append(Reason("too-short", "", took))
    entries = sorted(manifest.files.items())
    return Finding(
        path=relative(folder),
        host_id=manifest.host_id,
        episode_id=manifest.episode_id,
        guest_id=manifest.guest_id,
        profile=manifest.profile,
        sample_name=manifest.sample_name,
        started_wall_ns=manifest.started_wall_ns,
        ended_wall_ns=manifest.ended_wall_ns,
        verdict=worst(reasons),
        reasons=reasons,
        sources=facts,
        stored_bytes=sum(entry.bytes for _, entry in entries),
        windows=windows,
        manifest_sha256=manifest_sha256,
        content_sha256=content_of(recording.tracks),
        sketch=sketch_of(recording.tracks.get("proc")),
        boots=boots_of(manifest, recording.tracks.get("proc"), recording.boot_ids),
        fingerprint=mark,
    )


def _read_files(folder: Path, recording: Recording) -> list[Reason]:
    """Fill a recording from its files; what is wrong with them comes back, and such a source stays away."""
    reasons = []
    for stem in (*SOURCES, "labels"):
        try:
            with no_collection():
                _read_one(folder, stem, recording)
        except PhasewatchError as error:
            reasons.append(Reason(_code_of(error, stem), stem, brief(_detail_of(error, folder))))
    return reasons


def _read_one(folder: Path, stem: str, recording: Recording) -> None:
    manifest = recording.manifest
    name = manifest.file_of(stem)
    if name is None:
        return
    path, entry = folder / name, manifest.files[name]
    batches = batches_of(path, entry, stem)
    if stem == "labels":
        labels: list[LabelRow] = []
        for batch in batches:
            labels += batch
            if len(labels) > MOST_LABELS:
                raise BoundError(path, f"over {MOST_LABELS} labels", expected="one per phase", remedy=REDO)
        check_count(path, len(labels), entry)
        check_labels(labels, manifest, path)
        recording.labels = labels
        return
    source: Source = next(source for source in SOURCES if source == stem)
    found = too_many(source, entry.rows, manifest)
    if found is not None:
        raise BoundError(path, found, expected="what a recorder writes", remedy=REDO)
    whole = _at_most(batches, entry, path)
    if source == "guest":
        whole = _boots_noted(whole, recording.boot_ids)
    track = Track.of(source, whole, frozenset(manifest.guest_addresses))
    check_count(path, track.rows, entry)
    recording.tracks[source] = track


def _at_most(batches: Iterable[list[Any]], entry: FileEntry, path: Path) -> Iterator[list[Any]]:
    """Batches up to the number of rows that the manifest says. Raises `CountError`."""
    rows = 0
    for batch in batches:
        rows += len(batch)
        if rows > entry.rows:
            raise CountError(
                path, f"over {entry.rows} rows", expected=f"{entry.rows}, as episode.json says", remedy=REDO
            )
        yield batch


def _boots_noted(batches: Iterator[list[Any]], boot_ids: set[str]) -> Iterator[list[Any]]:
    """The same batches; the guest's word is not trusted, and bounded."""
    for batch in batches:
        if len(boot_ids) < MOST_BOOTS:
            boot_ids.update(islice({row.boot_id for row in batch}, MOST_BOOTS))
        yield batch


def _judged(recording: Recording) -> tuple[dict[Source, SourceFacts], list[Reason]]:
    """Facts and reasons that lie in the rows, not in the files."""
    manifest, tracks = recording.manifest, recording.tracks
    facts: dict[Source, SourceFacts] = {}
    reasons: list[Reason] = []
    for source in SOURCES:
        if manifest.file_of(source) is None:
            reasons.append(Reason("source-missing", source, "no file of it"))
        elif source in tracks:
            some = tracks[source]
            if source == "netflow":
                facts[source], more = flow_facts(some, _whole_proc(tracks, facts, manifest), manifest)
            else:
                facts[source], more = sampled_facts(source, some, manifest)
            reasons += more
    seconds = (manifest.ended_wall_ns - manifest.started_wall_ns) / SECOND
    sampled = {source: facts[source].seconds if source in facts else 0.0 for source in SOURCES if source != "netflow"}
    if all(observed < HALF * seconds for observed in sampled.values()):
        shares = ", ".join(f"{source} {observed / seconds:.0%}" for source, observed in sampled.items())
        reasons.append(Reason("nothing-observed", "", f"{shares.replace('%', ' %')} of {seconds:.0f} s"))
    if manifest.file_of("labels") is None:
        reasons.append(Reason("labels-missing", "labels", "no labels file"))
    elif recording.labels:
        mono = [label.t_mono_ns for label in recording.labels]
        if mono != sorted(mono):
            reasons.append(Reason("clock-backwards", "labels", "labels not in order of it"))
        late = (recording.labels[0].t_wall_ns - manifest.started_wall_ns) / SECOND
        if late > 1:
            reasons.append(Reason("labels-late", "labels", f"{late:.1f} s after the start"))
    return facts, reasons


def _whole_proc(tracks: dict[Source, Track], facts: dict[Source, SourceFacts], manifest: Manifest) -> Track | None:
    """proc, if it covers enough of the episode for its counters to say what the tap saw."""
    seconds = (manifest.ended_wall_ns - manifest.started_wall_ns) / SECOND
    return tracks["proc"] if "proc" in facts and facts["proc"].seconds >= ENOUGH * seconds else None


def _code_of(error: PhasewatchError, stem: str) -> str:
    if isinstance(error, CountError):
        return "row-count"
    if isinstance(error, RowError) and stem == "labels" and "`$.phase`" in error.found:
        return "phase-unknown"
    codes: dict[type[PhasewatchError], str] = {
        UnreadableError: "file-unreadable",
        MissingError: "file-missing",
        BoundError: "bound",
        TornError: "file-torn",
        DigestError: "digest-mismatch",
        LabelError: "labels-invalid",
        ClockError: "clock-wrong",
        RowError: "row-invalid",
    }
    return next((code for kind, code in codes.items() if isinstance(error, kind)), "failed")


def _detail_of(error: PhasewatchError, folder: Path) -> str:
    detail = f"{error.where.removeprefix(f'{folder}{os.sep}')}: {error.found}"
    if isinstance(error, CountError):
        detail += f", {error.expected.partition(',')[0]} expected"
    return detail
