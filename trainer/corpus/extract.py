"""Episodes to windows: reading, checking and extracting, one episode at a time, on any number of workers."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from contracts.errors import DatasetError, LabelError, SchemaMismatchError
from contracts.features import FeatureSchema
from contracts.telemetry.episode import read_episode, read_manifest
from contracts.telemetry.storage import sha256, write_file
from edge.extract import Extractor, columns_of, summarise, truth_of, window_ends
from trainer.corpus.dataset import Dataset, WindowTable, digest_of, write_dataset
from trainer.engine import ordered_map
from trainer.progress import Step, say, stage


def extract_store(
    episodes: Sequence[Path], out: Path, schema: FeatureSchema, *, workers: int, allow_missing: bool = False
) -> Dataset:
    """The dataset of some episodes, at `out`. One that is there already, of the same episodes, is kept.

    Raises whatever an episode is refused with: nothing is left out in silence.
    """
    digest = corpus_digest(episodes, schema, allow_missing=allow_missing)
    seal = out.with_name(f"{out.name}.sha256")
    if out.exists() and seal.exists() and seal.read_text() == file_sha256(out):
        # one of another schema is simply made again
        with contextlib.suppress(DatasetError, SchemaMismatchError):
            dataset = Dataset(out, schema)
            if dataset.digest == digest:
                return dataset
    work = functools.partial(extract_episode, schema=schema, allow_missing=allow_missing)
    with stage("extract", len(episodes)) as step:
        write_dataset(out, _stepping(ordered_map(work, episodes, workers), step), schema, digest)
    write_file(seal, file_sha256(out).encode())
    return Dataset(out, schema)


def file_sha256(path: Path) -> str:
    """Of a file of any size, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def corpus_digest(episodes: Sequence[Path], schema: FeatureSchema, *, allow_missing: bool) -> str:
    """What went in: the schema, and every episode's manifest (which names its files' digests), in order of id.

    Raises `DatasetError` where a folder and its manifest disagree, or two episodes have one id: scores are clustered
    and sides are split by it.
    """
    lines = []
    where: dict[str, Path] = {}
    for folder in episodes:
        manifest = read_manifest(folder)
        place = folder.absolute()
        if (manifest.host_id, manifest.episode_id) != (place.parent.name, place.name):
            raise DatasetError(
                folder / "episode.json",
                f"host {manifest.host_id}, episode {manifest.episode_id}",
                expected=f"{place.parent.name}/{place.name}, as its folders are called",
                remedy="put it where it belongs",
            )
        if manifest.episode_id in where:
            raise DatasetError(
                folder, f"an episode id that {where[manifest.episode_id]} has too", expected="ids that occur once",
                remedy="rename one, folder and manifest",
            )  # fmt: skip
        where[manifest.episode_id] = folder
        lines.append(f"{manifest.episode_id} {sha256((folder / 'episode.json').read_bytes())}")
    return digest_of([schema.hash, f"allow_missing={allow_missing}", *sorted(lines)])


def extract_episode(folder: Path, *, schema: FeatureSchema, allow_missing: bool = False) -> WindowTable:
    """All labelled windows of one episode. Raises as `read_episode` does, and `LabelError` without labels."""
    episode = read_episode(folder, allow_missing=allow_missing)
    manifest = episode.manifest
    if not episode.labels:
        raise LabelError(
            folder / "episode.json", "no labels file", expected="labels to learn from", remedy="leave the episode out"
        )
    addresses = frozenset(manifest.guest_addresses)
    columns = {source: columns_of(rows, source, schema.channels, addresses) for source, rows in episode.rows.items()}
    ends = window_ends(manifest.started_wall_ns, manifest.ended_wall_ns, schema)
    truth = truth_of(episode.labels, manifest.ended_wall_ns, ends, schema)
    at = np.flatnonzero(truth.label >= 0)
    windows = Extractor(schema).extract(columns, ends)
    tensor = windows.tensor[at]
    return WindowTable(
        tensor=tensor,
        summary=summarise(tensor, schema),
        label=truth.label[at],
        purity=truth.purity[at],
        centre_ns=ends[at] - schema.window_ns // 2,
        episode_id=[manifest.episode_id] * len(at),
        host_id=[manifest.host_id] * len(at),
        profile=[manifest.profile] * len(at),
        sample_name=[manifest.sample_name] * len(at),
    )


def _stepping(tables: Iterator[WindowTable], step: Step) -> Iterator[WindowTable]:
    windows = empty = 0
    for table in tables:
        yield table
        windows += len(table.label)
        empty += not len(table.label)
        step(f"{windows} windows")
    if empty:
        say(f"extract: {empty} episodes hold no whole labelled window and add nothing")
