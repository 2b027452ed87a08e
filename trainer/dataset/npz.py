"""Datasets of earlier tools: `.npz` shards (one per episode) and a summary Parquet, each with a schema JSON.

    FOLDER/*.npz, FOLDER/schema.json          X, mask, y, t_center, episode_id, host_id, profile, sample_name,
                                              channel_names
    FILE.parquet, FILE.schema.json            a column per feature, y, t_center, and the ids

The schema JSON says `{"schema_hash": "<64 hex digits>"}`. Nothing is ever unpickled.
"""

from __future__ import annotations

import functools
import hashlib
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from contracts.decode import decoded
from contracts.errors import DatasetError, MissingError
from contracts.features.schema import FeatureSchema, feature_schema, require_schema
from contracts.files import read_file
from contracts.types import Sha256
from contracts.vocabulary import PHASES
from edge.extract import summarise
from trainer.dataset.dataset import Dataset
from trainer.dataset.folder import MANIFEST
from trainer.dataset.samples import Strings
from trainer.dataset.shard import Shard, observed_share


class _SchemaFile(msgspec.Struct, frozen=True):
    schema_hash: Sha256


def is_legacy(path: Path) -> bool:
    """Whether a path is one of the older forms."""
    if path.suffix == ".parquet" and not path.is_dir():
        return True
    return path.is_dir() and not (path / MANIFEST).exists() and any(path.glob("*.npz"))


def open_legacy(path: Path, schema: FeatureSchema | None) -> Dataset:
    """This version's own schema is expected where none is given. Raises as `open_dataset`."""
    schema = feature_schema() if schema is None else schema
    note = path / "schema.json" if path.is_dir() else path.with_suffix(".schema.json")
    wanted = '{"schema_hash": …}'
    said = decoded(read_file(note), _SchemaFile, note, DatasetError, expected=wanted, remedy="extract it again")
    require_schema(said.schema_hash, schema, note)
    if not path.is_dir():
        shards: list[Shard] = [ParquetShard(path, schema)]
        files = [path]
    else:
        files = sorted(path.glob("*.npz"))
        shards = [NpzShard(file, schema) for file in files]
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stored:
            digest.update(hashlib.file_digest(stored, "sha256").digest())
    return Dataset(path, schema, PHASES, digest.hexdigest(), shards)


class NpzShard:
    """One episode's windows in a `.npz`."""

    def __init__(self, path: Path, schema: FeatureSchema) -> None:
        self.path, self._schema = path, schema
        names = tuple(str(name) for name in self._read("channel_names"))
        if names != schema.channel_ids:
            raise DatasetError(
                path,
                f"channels {', '.join(names[:3])}…",
                expected=f"{', '.join(schema.channel_ids[:3])}…, {len(schema.channels)} in all",
                remedy="extract it again",
            )
        self._label = _labels(self._read("y"), path)

    def __len__(self) -> int:
        return len(self._label)

    @property
    def tensor(self) -> NDArray[np.float32]:
        """(N, C, T), NaN where the mask says so; read anew each time, for a set may be larger than memory."""
        x = self._read("X").astype(np.float32)
        expected = len(self), len(self._schema.channels), self._schema.steps
        if x.shape != expected:
            raise DatasetError(self.path, f"X {x.shape}", expected=f"{expected}", remedy="extract it again")
        mask = self._read("mask")
        if mask.shape != expected:
            raise DatasetError(self.path, f"mask {mask.shape}", expected=f"{expected}", remedy="extract it again")
        x[~mask.astype(np.bool_)] = np.nan
        return x

    @property
    def summary(self) -> NDArray[np.float32]:
        """(N, F), worked out from the tensor."""
        return summarise(self.tensor, self._schema)

    def observed(self, start: int, end: int) -> NDArray[np.float64]:
        """(n, C): as `Shard` says."""
        return observed_share(self.tensor[start:end])

    def column(self, name: str) -> NDArray[Any]:
        """label or centre_ns; purity is not known, and taken for 1."""
        if name == "label":
            return self._label
        if name == "purity":
            return np.ones(len(self), np.float32)
        return self._per_window(_centres(self._read("t_center")), "t_center")

    def ids(self, name: str) -> Strings:
        """One value for the episode, or one per window."""
        some = self._read(name).astype(str).astype(object)
        return self._per_window(np.full(len(self), some.item()) if some.size == 1 else some, name)

    def _per_window(self, some: NDArray[Any], name: str) -> NDArray[Any]:
        if some.shape != (len(self),):
            raise DatasetError(
                self.path, f"{name} {some.shape}", expected=f"({len(self)},), one per window", remedy="extract it again"
            )
        return some

    def _read(self, key: str) -> NDArray[Any]:
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                return cast(NDArray[Any], arrays[key])
        except KeyError:
            found = f"no array {key}"
        except (OSError, ValueError, TypeError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
            found = f"cannot be read ({error})"
        raise DatasetError(
            self.path, found, expected="an .npz shard, without pickles", remedy="extract it again"
        ) from None


class ParquetShard:
    """Summaries alone, a column per feature."""

    def __init__(self, path: Path, schema: FeatureSchema) -> None:
        self.path, self._schema = path, schema
        try:
            with pa.OSFile(os.fsencode(path)) as file:  # a name it would read as an address
                self._table = pq.read_table(file)
        except FileNotFoundError:
            raise MissingError(path, "no such file", expected="a summary Parquet", remedy="check the path") from None
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(path, f"no Parquet ({error})", expected="summaries", remedy="extract again") from None
        absent = {*schema.feature_names, "y", "t_center"} - set(self._table.column_names)
        if absent:
            raise DatasetError(
                path, f"no column {min(absent)}", expected="one per feature, y, t_center", remedy="extract it again"
            )

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @property
    def tensor(self) -> NDArray[np.float32]:
        """There is none. Raises `DatasetError`."""
        raise DatasetError(
            self.path, "summaries alone", expected="tensors", remedy="take gbt or mlp, or extract the episodes again"
        )

    @functools.cached_property
    def summary(self) -> NDArray[np.float32]:
        """(N, F)."""
        columns = [self._table.column(name).to_numpy().astype(np.float32) for name in self._schema.feature_names]
        return np.stack(columns, axis=1)

    def observed(self, start: int, end: int) -> NDArray[np.float64]:
        """(n, C): 1 where anything was."""
        statistics = self._schema.statistics
        mean = self.summary[start:end, statistics.index("mean") :: len(statistics)]
        known: NDArray[np.float64] = (~np.isnan(mean)).astype(np.float64)
        return known

    def column(self, name: str) -> NDArray[Any]:
        """label or centre_ns; purity is taken for 1 where there is no such column."""
        if name == "label":
            return _labels(self._table.column("y").to_numpy(), self.path)
        if name == "centre_ns":
            return _centres(self._table.column("t_center").to_numpy())
        if name in self._table.column_names:
            return cast(NDArray[Any], self._table.column(name).to_numpy().astype(np.float32))
        return np.ones(len(self), np.float32)

    def ids(self, name: str) -> Strings:
        """Raises `DatasetError` where the column is missing."""
        if name not in self._table.column_names:
            raise DatasetError(self.path, f"no column {name}", expected="the ids", remedy="extract it again")
        return np.array(self._table.column(name).to_pylist(), object)


def _labels(y: NDArray[Any], path: Path) -> NDArray[np.int64]:
    if y.ndim != 1 or y.dtype.kind not in "iu" or not len(y) or y.min() < 0 or y.max() >= len(PHASES):
        raise DatasetError(
            path, f"y {y.shape}, {y.dtype}", expected=f"labels from 0 to {len(PHASES) - 1}", remedy="extract it again"
        )
    return y.astype(np.int64)


def _centres(times: NDArray[Any]) -> NDArray[np.int64]:
    """Unix ns, from whole ns or from seconds."""
    return times.astype(np.int64) if times.dtype.kind in "iu" else np.round(times * 1e9).astype(np.int64)
