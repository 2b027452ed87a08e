"""Store -> dataset: the usable episodes of a sweep become shards, one task each, wherever the engine runs them."""

from __future__ import annotations

import functools
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from contracts.errors import ConfigError, DatasetError, LabelError, MissingError, SchemaMismatchError, WorkError
from contracts.features import FeatureSchema
from contracts.phases import PHASES, Source
from contracts.telemetry.episode import check_labels, read_manifest_and_digest
from contracts.telemetry.lines import row_batches, stored_bytes
from contracts.telemetry.manifest import Manifest
from contracts.telemetry.storage import locked, write_file
from edge.extract import Columns, Extractor, summarise, truth_of, window_ends
from edge.extract.columns import joined as joined_columns
from edge.extract.columns import part_of
from trainer.corpus.arrow import ArrowShard, write_shard
from trainer.corpus.catalogue import read_index
from trainer.corpus.collection import no_collection
from trainer.corpus.dataset import (
    MANIFEST,
    SHARDS,
    Dataset,
    DatasetManifest,
    ShardEntry,
    open_dataset,
    read_dataset_manifest,
)
from trainer.corpus.examine import Finding
from trainer.corpus.samples import IDS, WindowTable, joined
from trainer.corpus.shards import partition
from trainer.corpus.sweep import Sweep, sweep
from trainer.engine import Engine, Lost
from trainer.progress import say, stage

SHARD_BYTES = 32 << 20
_OURS = re.compile(r"(all|[01]+)-[0-9a-f]{16}\.arrow|\..*\.arrow\..*\.part")
"""Names of shards, and of what a killed run leaves of one."""


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What to extract. `degraded`: take degraded episodes too; `shard_bytes`: about how large a file may grow."""

    store: Path
    out: Path
    schema: FeatureSchema
    degraded: bool = False
    shard_bytes: int = SHARD_BYTES


class Input(msgspec.Struct, frozen=True):
    """One episode to extract: its path below the store, the digest of its manifest, and the sources to believe."""

    path: str
    manifest_sha256: str
    sources: tuple[Source, ...]
    windows: int


class Task(msgspec.Struct, frozen=True):
    """One shard to make, or to keep if `known` is still the digest of its bytes."""

    name: str
    inputs: tuple[Input, ...]
    known: str | None


def extract_store(plan: Extraction, engine: Engine) -> Dataset:
    """The dataset of a store at `plan.out`. Shards that are there already, of the same episodes, are kept.

    Raises `MissingError`, `BusyError`, `StorageError`, `DatasetError` if nothing is usable, `ConfigError` if it would
    lie inside the store, and `WorkError`.
    """
    if plan.out.resolve().is_relative_to(plan.store.resolve()):
        raise ConfigError(
            plan.out, "inside the store", expected="a folder outside it", remedy="choose another place for --out"
        )
    index = plan.out / "index.parquet"
    with locked(plan.out / ".lock"):
        engine.require_shared(plan.out, written=True)
        sweep(Sweep(store=plan.store, out=index, base=plan.store / "index.parquet"), engine)
        taken, left_out = _chosen(plan, index)
        shards = _extracted(plan, taken, engine)
        manifest = DatasetManifest(
            schema_hash=plan.schema.hash,
            feature_schema=plan.schema,
            classes=PHASES,
            digest=digest_of(plan.schema, taken),
            windows=sum(shard.windows for shard in shards),
            episodes=len(taken),
            left_out=left_out,
            shards=shards,
        )
        if manifest.windows == 0:
            raise DatasetError(
                plan.out, "not one window", expected="episodes longer than a window", remedy="check the store"
            )
        write_manifest(plan.out, manifest)
        drop_others(plan.out / SHARDS, shards)
    return open_dataset(plan.out, plan.schema)


def write_manifest(folder: Path, manifest: DatasetManifest) -> None:
    """The last thing that is written of a dataset: without it, there is none."""
    write_file(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))


def _chosen(plan: Extraction, index: Path) -> tuple[list[Input], dict[str, int]]:
    """The episodes to take, in order of path, and how many of each verdict are left out."""
    wanted = {"accepted", "degraded"} if plan.degraded else {"accepted"}
    taken, left_out, codes = [], Counter[str](), Counter[str]()
    for finding in read_index(index):
        if finding.verdict in wanted:
            taken.append(_input(finding))
        else:
            left_out[finding.verdict] += 1
            codes.update({reason.code for reason in finding.reasons})
    if left_out:
        counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(left_out.items()))
        why = ", ".join(f"{code} {count}" for code, count in codes.most_common())
        say(f"extract: left out {counts} ({why}); {index} says which")
    if not taken:
        raise DatasetError(
            plan.store,
            "no usable episode",
            expected=" or ".join(sorted(wanted)) + " ones",
            remedy="see `trainer explain EPISODE`" + ("" if plan.degraded else ", or take --include-degraded"),
        )
    return taken, dict(sorted(left_out.items()))


def _input(finding: Finding) -> Input:
    return Input(finding.path, finding.manifest_sha256, finding.usable_sources, finding.windows)


def digest_of(schema: FeatureSchema, inputs: Iterable[Input]) -> str:
    """What goes in: the schema, and every episode's manifest (which names its files' digests), in order of path."""
    whole = hashlib.sha256(schema.hash.encode())
    for one in inputs:
        whole.update(f"\n{one.path} {one.manifest_sha256} {','.join(one.sources)}".encode())
    return whole.hexdigest()


def _extracted(plan: Extraction, taken: Sequence[Input], engine: Engine) -> tuple[ShardEntry, ...]:
    window_bytes = 4 * (len(plan.schema.channels) * plan.schema.steps + len(plan.schema.feature_names))
    groups = partition(
        taken, lambda one: one.path.rpartition("/")[2], lambda one: one.windows * window_bytes, plan.shard_bytes
    )
    known = _known(plan.out)
    tasks = []
    for bits, inputs in groups:
        name = f"{bits or 'all'}-{digest_of(plan.schema, inputs)[:16]}.arrow"
        tasks.append(Task(name, tuple(inputs), known.get(name)))
    work = functools.partial(extract_shard, store=plan.store, folder=plan.out / SHARDS, schema=plan.schema)
    made = {}
    with stage("extract", len(tasks)) as step:
        for task, entry in engine.run(work, tasks):
            if isinstance(entry, Lost):
                raise WorkError(
                    f"worker for {task.name}",
                    "ended without a word, twice",
                    expected="to live",
                    remedy="look for want of memory, or use fewer --workers",
                )
            if entry.windows:
                made[task.name] = entry
            step(f"{sum(one.windows for one in made.values())} windows")
    return tuple(made[name] for name in sorted(made))


def _known(out: Path) -> dict[str, str]:
    """Digests of the shards that an earlier run finished with."""
    try:
        return {entry.name: entry.sha256 for entry in read_dataset_manifest(out).shards}
    except (MissingError, DatasetError, SchemaMismatchError):
        return {}


def drop_others(folder: Path, shards: Sequence[ShardEntry]) -> None:
    """Shards of episodes that have changed since, and what a killed run left half-written."""
    names = {shard.name for shard in shards}
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in names:
            path.unlink()


def extract_shard(task: Task, store: Path, folder: Path, schema: FeatureSchema) -> ShardEntry:
    """Make one shard, or keep it. The same bytes wherever it is made.

    Raises as `extract_episode` does, and `StorageError`.
    """
    path = folder / task.name
    kept = _kept(path, task, schema)
    if kept is None:
        extractor = Extractor(schema)
        tables = [extract_episode(store / one.path, extractor, one) for one in task.inputs]
        whole = joined(tables)
        if not len(whole.label):  # this schema's windows are longer than these episodes
            return ShardEntry(name=task.name, sha256="0" * 64, windows=0)
        write_shard(path, whole, schema, digest_of(schema, task.inputs))
    return ShardEntry(name=task.name, sha256=kept or file_sha256(path), windows=len(ArrowShard(path, schema)))


def _kept(path: Path, task: Task, schema: FeatureSchema) -> str | None:
    """The digest of the shard that is there already, if it can stay."""
    if not path.exists():
        return None
    try:
        ArrowShard(path, schema)
    except (DatasetError, SchemaMismatchError):
        return None
    found = file_sha256(path)
    return found if task.known in (None, found) else None


def extract_episode(folder: Path, extractor: Extractor, wanted: Input) -> WindowTable:
    """All labelled windows of one episode that the sweep found usable.

    Raises `MissingError`, `TornError`, `DigestError`, `RowError`, `LabelError`, and `DatasetError` if it has changed
    since the sweep.
    """
    schema = extractor.schema
    manifest, found = read_manifest_and_digest(folder)
    if found != wanted.manifest_sha256:
        raise DatasetError(
            folder, "changed since it was swept", expected="a store at rest", remedy="run it again when nobody writes"
        )
    columns = {source: _columns(folder, manifest, source, schema) for source in wanted.sources}
    name = manifest.file_of("labels")
    if name is None:
        raise LabelError(folder, "no labels file", expected="labels to learn from", remedy="leave the episode out")
    labels = [row for batch in row_batches(stored_bytes(folder / name, manifest.files[name]), "labels", folder / name)
              for row in batch]  # fmt: skip
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
        batches = row_batches(stored_bytes(path, manifest.files[name]), source, path)
        parts = [part_of(batch, source, schema.channels, addresses) for batch in batches]
        return joined_columns(parts or [part_of([], source, schema.channels, addresses)])


def file_sha256(path: Path) -> str:
    """Of a file of any size, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
