"""One task of extraction: some episodes become one shard. The same bytes wherever it runs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np

from contracts.errors import DatasetError, LabelError, MissingError, SchemaMismatchError, WorkError
from contracts.features.schema import FeatureSchema
from contracts.files import file_sha256, read_file, write_file
from contracts.telemetry.episode import check_labels, read_manifest_and_digest
from contracts.telemetry.manifest import Manifest
from contracts.vocabulary import Source
from edge.extract import Columns, Extractor, summarise, truth_of, window_ends
from edge.extract.columns import joined as joined_columns
from edge.extract.columns import part_of
from trainer.dataset.arrow import ArrowShard, write_shard
from trainer.dataset.folder import ShardEntry
from trainer.dataset.samples import IDS, WindowTable, joined
from trainer.sweep.finding import Finding
from trainer.sweep.stored_rows import batches_of
from trainer.versions import EXTRACTION, code_digest
from trainer.workers.no_gc import no_collection


class Finished(msgspec.Struct, frozen=True):
    """A shard, and the code that cut it: beside it as long as there is no `dataset.json`."""

    code: str
    shard: ShardEntry


class Input(msgspec.Struct, frozen=True):
    """One episode to extract: its path below the store, the digest of its manifest, and the sources to believe."""

    path: str
    manifest_sha256: str
    sources: tuple[Source, ...]
    windows: int

    @classmethod
    def of(cls, finding: Finding) -> Input:
        """What the sweep found usable."""
        return cls(finding.path, finding.manifest_sha256, finding.usable_sources, finding.windows)


class ShardTask(msgspec.Struct, frozen=True):
    """One shard to make, or to keep if its bytes are still what `known` says of them."""

    name: str
    inputs: tuple[Input, ...]
    known: ShardEntry | None


def digest_of(schema: FeatureSchema, inputs: Iterable[Input]) -> str:
    """What goes in: the schema, and every episode's manifest (which names its files' digests), in order of path."""
    whole = hashlib.sha256(schema.hash.encode())
    for one in inputs:
        whole.update(f"\n{one.path} {one.manifest_sha256} {','.join(one.sources)}".encode())
    return whole.hexdigest()


def extract_shard(task: ShardTask, store: Path, folder: Path, schema: FeatureSchema) -> ShardEntry:
    """Make one shard, or keep it. The same bytes wherever it is made.

    Raises as `extract_episode` does, `StorageError`, and `WorkError` for want of memory.
    """
    path = folder / task.name
    kept = _kept(path, task, schema)
    if kept is not None:
        return kept
    extractor, impossible = Extractor(schema), Counter[Source]()
    try:
        whole = joined([extract_episode(store / one.path, extractor, one, impossible) for one in task.inputs])
    except MemoryError:
        raise WorkError(
            path, "no memory left to make it in", expected="room for a few of it", remedy="use fewer --workers"
        ) from None
    if not len(whole.label):  # this schema's windows are longer than these episodes
        return ShardEntry(name=task.name, sha256="0" * 64, windows=0)
    write_shard(path, whole, schema, digest_of(schema, task.inputs))
    counts = {source: count for source, count in sorted(impossible.items()) if count}
    made = ShardEntry(name=task.name, sha256=file_sha256(path), windows=len(whole.label), impossible=counts)
    write_file(entry_path(path), msgspec.json.encode(Finished(code=code_digest(*EXTRACTION), shard=made)))
    return made


def entry_path(shard: Path) -> Path:
    """Beside a finished shard, until `dataset.json` says the same: an interrupted extraction knows it by its digest."""
    return shard.with_name(f"{shard.name}.json")


def _kept(path: Path, task: ShardTask, schema: FeatureSchema) -> ShardEntry | None:
    """The shard that is there already, if its bytes are those that were written."""
    known = task.known
    try:
        if known is None:
            finished = msgspec.json.decode(read_file(entry_path(path), 1 << 16), type=Finished)
            if finished.code != code_digest(*EXTRACTION):
                return None
            known = finished.shard
        ArrowShard(path, schema)
    except (DatasetError, SchemaMismatchError, MissingError, msgspec.DecodeError):
        return None
    return known if known.name == path.name and known.sha256 == file_sha256(path) else None


def extract_episode(
    folder: Path, extractor: Extractor, wanted: Input, impossible: Counter[Source] | None = None
) -> WindowTable:
    """All labelled windows of one episode that the sweep found usable; `impossible` counts what was left out of it.

    Raises `MissingError`, `TornError`, `DigestError`, `RowError`, `LabelError`, `ClockError`, and `DatasetError` if it
    has changed since the sweep.
    """
    schema = extractor.schema
    manifest, found = read_manifest_and_digest(folder)
    if found != wanted.manifest_sha256:
        raise DatasetError(
            folder, "changed since it was swept", expected="a store at rest", remedy="run it again when nobody writes"
        )
    columns = {source: _columns(folder, manifest, source, schema) for source in wanted.sources}
    if impossible is not None:
        impossible.update({source: extractor.impossible(source, some) for source, some in columns.items()})
    name = manifest.file_of("labels")
    if name is None:
        raise LabelError(folder, "no labels file", expected="labels to learn from", remedy="leave the episode out")
    labels = [row for batch in batches_of(folder / name, manifest.files[name], "labels") for row in batch]
    check_labels(labels, manifest, folder / name)
    ends = window_ends(manifest.started_wall_ns, manifest.ended_wall_ns, schema)
    truth = truth_of(labels, manifest.ended_wall_ns, ends, schema)
    known = truth.label >= 0
    windows = extractor.extract(columns, ends[known])
    ids = {"episode_id": manifest.episode_id, "host_id": manifest.host_id}
    ids |= {"profile": manifest.profile, "sample_name": manifest.sample_name}
    return WindowTable(
        tensor=windows.tensor,
        summary=summarise(windows.tensor, schema),
        label=truth.label[known],
        purity=truth.purity[known],
        centre_ns=windows.ends - schema.window_ns // 2,
        **{name: np.full(len(windows.ends), ids[name], object) for name in IDS},
    )


def _columns(folder: Path, manifest: Manifest, source: Source, schema: FeatureSchema) -> Columns:
    name = manifest.file_of(source)
    if name is None:
        raise MissingError(folder, f"no {source} file", expected="what the sweep found", remedy="validate again")
    path, addresses = folder / name, frozenset(manifest.guest_addresses)
    with no_collection():
        batches = batches_of(path, manifest.files[name], source)
        parts = [part_of(batch, source, schema.channels, addresses) for batch in batches]
        return joined_columns(parts or [part_of([], source, schema.channels, addresses)])
