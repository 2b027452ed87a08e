"""A dataset's folder: its shards, and `dataset.json`, which says what is in it and what was left out.

DATASET/dataset.json                 schema, classes, digest of what is in it, shards with their SHA-256
DATASET/shards/<bits>-<inputs>.arrow windows, memory-mapped (see `arrow`)
DATASET/index.parquet                the sweep's verdict on every episode of the store
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from contracts.decode import decoded
from contracts.errors import DatasetError, MissingError
from contracts.features.schema import FeatureSchema
from contracts.files import read_file, sha256, write_file
from contracts.types import Sha256
from contracts.vocabulary import Source

MANIFEST = "dataset.json"
SHARDS = "shards"
_MAX_MANIFEST = 64 << 20


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
    data = read_file(path, _MAX_MANIFEST)
    manifest = decoded(data, DatasetManifest, path, DatasetError, expected="a dataset", remedy="extract it again")
    if manifest.feature_schema.hash != manifest.schema_hash:
        raise DatasetError(
            path, "a schema that is not of its hash", expected="the one it was made with", remedy="extract it again"
        )
    return manifest


SHARD_BYTES = 32 << 20
_OURS = re.compile(r"(all|[01]+)-[0-9a-f]{16}\.arrow(\.json)?|\..*\.arrow\..*\.part")
"""Names of shards, and of what a killed run leaves of one."""


def write_manifest(folder: Path, manifest: DatasetManifest) -> None:
    """The last thing that is written of a dataset: without it, there is none."""
    write_file(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))


def drop_others(folder: Path, shards: Sequence[ShardEntry]) -> None:
    """Shards of episodes that have changed since, and what a killed run left half-written."""
    names = {shard.name for shard in shards}
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in names:
            path.unlink()
