"""Open whatever kind of dataset lies at a path."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import msgspec

from contracts.errors import DatasetError
from contracts.features.schema import EXTRACTOR_VERSION, FeatureSchema, require_schema
from trainer.dataset.arrow import ArrowShard
from trainer.dataset.dataset import Dataset
from trainer.dataset.folder import MANIFEST, SHARDS, read_dataset_manifest
from trainer.dataset.lazy import LazyWindows
from trainer.dataset.npz import is_legacy, open_legacy
from trainer.dataset.samples import Samples


def open_dataset(path: Path, schema: FeatureSchema | None = None) -> Dataset:
    """A dataset of this schema, or (None) of whatever schema it names, as long as this version's extraction made it.

    Raises `MissingError`, `DatasetError`, and `SchemaMismatchError` for any other schema.
    """
    if is_legacy(path):
        return open_legacy(path, schema)
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
