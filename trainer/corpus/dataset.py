"""A dataset: a folder of shards and `dataset.json`, which says what is in it and what was left out.

    DATASET/dataset.json                 schema, classes, digest of what is in it, shards with their SHA-256
    DATASET/shards/<bits>-<inputs>.arrow windows, memory-mapped (see `arrow`)
    DATASET/index.parquet                the sweep's verdict on every episode of the store

Older datasets (`legacy`) are opened by the same `open_dataset`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.errors import DatasetError, MissingError
from contracts.features.schema import EXTRACTOR_VERSION, FeatureSchema, feature_names, require_schema
from contracts.files import read_file, sha256
from contracts.types import Sha256
from contracts.vocabulary import Source
from trainer.corpus.arrow import ArrowShard
from trainer.corpus.lazy import LazyWindows, View
from trainer.corpus.samples import IDS, Samples, Strings

MANIFEST = "dataset.json"
SHARDS = "shards"
_MAX_MANIFEST = 64 << 20


class Shard(Protocol):
    """Some windows of a dataset, on disk."""

    def __len__(self) -> int: ...
    @property
    def tensor(self) -> NDArray[np.float32]:
        """(N, C, T)."""

    @property
    def summary(self) -> NDArray[np.float32]:
        """(N, F)."""

    def column(self, name: str) -> NDArray[Any]:
        """label, purity or centre_ns: (N,)."""

    def ids(self, name: str) -> Strings:
        """episode_id, host_id, profile or sample_name: (N,)."""


class ShardEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One shard: its name says which episodes went in, its digest which bytes came out. impossible: per source,
    readings or flow records that cannot be, and were left out."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,100}\.arrow$(?!\n)")]
    sha256: Sha256
    windows: int
    impossible: dict[Source, int] = {}


class DatasetManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`dataset.json`."""

    format: Literal["phasewatch dataset 1"] = "phasewatch dataset 1"
    schema_hash: Sha256
    digest: Sha256
    """Two datasets with one digest hold the same windows in the same order (`content_digest`)."""
    windows: int
    episodes: int
    left_out: dict[str, int]
    """Episodes of the store that are not in it, by verdict."""
    classes: tuple[str, ...]
    code: str = ""
    """Digest of the code that cut its shards; empty for arrays that were made elsewhere."""
    shards: tuple[ShardEntry, ...]
    feature_schema: FeatureSchema


class Dataset:
    """An open dataset. Nothing is read before it is asked for."""

    def __init__(
        self, path: Path, schema: FeatureSchema, classes: tuple[str, ...], digest: str, shards: Sequence[Shard]
    ) -> None:
        self.path, self.schema, self.classes, self.digest = path, schema, classes, digest
        self.shards = tuple(shards)

    def __len__(self) -> int:
        return sum(map(len, self.shards))

    def load_ids(self) -> Samples:
        """Labels and ids alone: `x` is (N, 0)."""
        return self._samples(np.empty((len(self), 0), np.float32), ())

    def load_summary(self, channels: tuple[str, ...] | None = None) -> Samples:
        """Summaries (N, F) over some channels (all, by default). Raises `DatasetError`."""
        channels = self.schema.channel_ids if channels is None else channels
        at = self.rows("summary", channels)
        return self._samples(np.concatenate([s.summary[:, at] for s in self.shards]), feature_names(channels))

    def load_tensor(self, channels: tuple[str, ...] | None = None) -> Samples:
        """Tensors (N, C, T) over some channels (all, by default). Raises `DatasetError`."""
        channels = self.schema.channel_ids if channels is None else channels
        at = self.indices(channels)
        return self._samples(np.concatenate([s.tensor[:, at] for s in self.shards]), channels)

    def load(self, view: View, channels: tuple[str, ...]) -> Samples:
        """The view that an architecture asks for."""
        return self.load_summary(channels) if view == "summary" else self.load_tensor(channels)

    def load_tensor_lazy(
        self,
        *,
        batch: int = 256,
        seed: int | None = 0,
        channels: tuple[str, ...] | None = None,
        episodes: Collection[str] | None = None,
    ) -> LazyWindows:
        """Tensors in batches, for sets larger than memory: shuffled by `seed`, or in order (None).

        `channels` and `episodes` choose; all, by default. Raises `DatasetError`.
        """
        chosen = self.schema.channel_ids if channels is None else channels
        return self.load_lazy("tensor", chosen, batch=batch, seed=seed, episodes=episodes)

    def load_lazy(
        self,
        view: View,
        channels: tuple[str, ...],
        *,
        batch: int = 256,
        seed: int | None = 0,
        episodes: Collection[str] | None = None,
    ) -> LazyWindows:
        """Either view in batches. Raises `DatasetError`."""
        rows = self.rows(view, channels)
        shape = (len(rows),) if view == "summary" else (len(rows), self.schema.steps)
        return LazyWindows(
            self.shards, view, rows, shape, batch, seed, None if episodes is None else frozenset(episodes)
        )

    def rows(self, view: View, channels: tuple[str, ...]) -> NDArray[np.intp]:
        """Which rows of a stored tensor, or columns of a stored summary, belong to channels. Raises `DatasetError`."""
        at = self.indices(channels)
        if view == "tensor":
            return at
        width = len(self.schema.statistics)
        return (at[:, None] * width + np.arange(width)).ravel()

    def indices(self, channels: tuple[str, ...]) -> NDArray[np.intp]:
        """Where channels are in a tensor. Raises `DatasetError`."""
        index = {channel: i for i, channel in enumerate(self.schema.channel_ids)}
        unknown = [channel for channel in channels if channel not in index]
        if unknown:
            raise DatasetError(
                self.path, f"no channel {unknown[0]}", expected="channels of its schema", remedy="see trainer describe"
            )
        return np.array([index[channel] for channel in channels], np.intp)

    def _samples(self, x: NDArray[np.float32], names: tuple[str, ...]) -> Samples:
        label, purity, centre = (
            np.concatenate([shard.column(name) for shard in self.shards]) for name in ("label", "purity", "centre_ns")
        )
        episode, host, profile, sample = (np.concatenate([shard.ids(name) for shard in self.shards]) for name in IDS)
        return Samples(x, label, names, purity, centre, episode, host, profile, sample)


def content_digest(schema: FeatureSchema, classes: tuple[str, ...], shards: Sequence[ShardEntry]) -> str:
    """Of what is in a dataset, 64 hex digits: of the same episodes, other code may have made other windows."""
    lines = [schema.hash, *classes, *(shard.sha256 for shard in shards)]
    return sha256("\n".join(lines).encode())


def read_dataset_manifest(folder: Path) -> DatasetManifest:
    """`dataset.json`. Raises `MissingError`, `DatasetError`."""
    path = folder / MANIFEST
    if not folder.exists():
        raise MissingError(
            folder, "no such folder", expected="a dataset", remedy="make one with `trainer extract STORE --out DATASET`"
        )
    try:
        manifest = msgspec.json.decode(read_file(path, _MAX_MANIFEST), type=DatasetManifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, NotADirectoryError) as error:
        raise DatasetError(path, str(error), expected="a dataset", remedy="extract it again") from None
    if manifest.feature_schema.hash != manifest.schema_hash:
        raise DatasetError(
            path, "a schema that is not of its hash", expected="the one it was made with", remedy="extract it again"
        )
    return manifest


def open_dataset(path: Path, schema: FeatureSchema | None = None) -> Dataset:
    """A dataset of this schema, or (None) of whatever schema it names, as long as this version's extraction made it.

    Raises `MissingError`, `DatasetError`, and `SchemaMismatchError` for any other schema.
    """
    from trainer.corpus import legacy

    if legacy.is_legacy(path):
        return legacy.open_legacy(path, schema)
    manifest = read_dataset_manifest(path)
    if schema is None:
        schema = manifest.feature_schema
        require_schema(
            manifest.schema_hash, msgspec.structs.replace(schema, extractor_version=EXTRACTOR_VERSION), path / MANIFEST
        )
    require_schema(manifest.schema_hash, schema, path / MANIFEST)
    shards = [ArrowShard(path / SHARDS / entry.name, schema) for entry in manifest.shards]
    for entry, shard in zip(manifest.shards, shards, strict=True):
        if len(shard) != entry.windows:
            raise DatasetError(
                shard.path,
                f"{len(shard)} windows",
                expected=f"{entry.windows}, as dataset.json says",
                remedy="extract the dataset again",
            )
    return Dataset(path, schema, manifest.classes, manifest.digest, shards)


def load_summary(path: Path, schema: FeatureSchema | None = None, channels: tuple[str, ...] | None = None) -> Samples:
    """`Dataset.load_summary` of the dataset at a path."""
    return open_dataset(path, schema).load_summary(channels)


def load_tensor(path: Path, schema: FeatureSchema | None = None, channels: tuple[str, ...] | None = None) -> Samples:
    """`Dataset.load_tensor` of the dataset at a path."""
    return open_dataset(path, schema).load_tensor(channels)


def load_tensor_lazy(
    path: Path,
    schema: FeatureSchema | None = None,
    *,
    batch: int = 256,
    seed: int | None = 0,
    channels: tuple[str, ...] | None = None,
    episodes: Collection[str] | None = None,
) -> LazyWindows:
    """`Dataset.load_tensor_lazy` of the dataset at a path."""
    return open_dataset(path, schema).load_tensor_lazy(batch=batch, seed=seed, channels=channels, episodes=episodes)
