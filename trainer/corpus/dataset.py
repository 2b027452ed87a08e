"""A dataset: one Arrow IPC file, memory-mapped, one row per window.

Columns: `tensor` (fixed-shape (C, T) float32, NaN = not observed, so the mask is its finiteness), `summary`
(fixed-shape (F,) float32), label, purity, centre_ns, episode_id, host_id, profile, sample_name. The file's metadata
carries the feature schema, its hash, and the digest of the episodes that went in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from contracts.errors import DatasetError, MissingError
from contracts.features import FeatureSchema, feature_names, require_schema
from contracts.telemetry.storage import writing

Strings = NDArray[np.object_]
View = Literal["summary", "tensor"]


@dataclass(frozen=True)
class WindowTable:
    """Windows of one or many episodes, column by column. tensor: (N, C, T), summary: (N, F)."""

    tensor: NDArray[np.float32]
    summary: NDArray[np.float32]
    label: NDArray[np.int64]
    purity: NDArray[np.float32]
    centre_ns: NDArray[np.int64]
    episode_id: list[str]
    host_id: list[str]
    profile: list[str]
    sample_name: list[str]


@dataclass(frozen=True)
class Samples:
    """What a model is fitted to or judged by.

    x: (N, C, T) tensors or (N, F) summaries, float32; y: (N,) int64 labels, indices into `PHASES`;
    names: channel ids or feature names; the rest are per-window ids.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    names: tuple[str, ...]
    purity: NDArray[np.float32]
    centre_ns: NDArray[np.int64]
    episode_id: Strings
    host_id: Strings
    profile: Strings
    sample_name: Strings

    def of(self, episodes: Iterable[str]) -> Samples:
        """The windows of some episodes, in order."""
        at = np.flatnonzero(np.isin(self.episode_id.astype(str), sorted(episodes)))
        columns = (getattr(self, name)[at] for name in _ID_COLUMNS)
        return Samples(self.x[at], self.y[at], self.names, *columns)


_ID_COLUMNS = ("purity", "centre_ns", "episode_id", "host_id", "profile", "sample_name")


class Dataset:
    """An open dataset. Nothing is read before it is asked for."""

    def __init__(self, path: Path, schema: FeatureSchema) -> None:
        """Raises `MissingError`, `DatasetError`, and `SchemaMismatchError` for any other schema."""
        try:
            with pa.memory_map(str(path)) as source:
                self._table = pa.ipc.open_file(source).read_all()
        except FileNotFoundError:
            raise MissingError(
                path, "no such file", expected="a dataset", remedy="make one with `trainer build`"
            ) from None
        except (pa.ArrowInvalid, OSError) as error:
            raise DatasetError(
                path, f"not an Arrow file ({error})", expected="a dataset", remedy="extract it again"
            ) from None
        metadata = self._table.schema.metadata or {}
        try:
            found, self.digest = (metadata[key].decode() for key in (b"schema_hash", b"digest"))
        except KeyError as error:
            raise DatasetError(
                path, f"no {error} in its metadata", expected="a Phasewatch dataset", remedy="extract it again"
            ) from None
        require_schema(found, schema, path)
        self.path, self.schema = path, schema

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def load_summary(self, channels: tuple[str, ...] | None = None) -> Samples:
        """Summaries (N, F) over some channels (all, by default)."""
        channels = self.schema.channel_ids if channels is None else channels
        width = len(self.schema.statistics)
        at = (self._indices(channels)[:, None] * width + np.arange(width)).ravel()
        return self._samples("summary", at, feature_names(channels))

    def load_tensor(self, channels: tuple[str, ...] | None = None) -> Samples:
        """Tensors (N, C, T) over some channels (all, by default). The mask is `~np.isnan(x)`."""
        channels = self.schema.channel_ids if channels is None else channels
        return self._samples("tensor", self._indices(channels), channels)

    def load(self, view: View, channels: tuple[str, ...]) -> Samples:
        """The view that an architecture asks for."""
        return self.load_summary(channels) if view == "summary" else self.load_tensor(channels)

    def _indices(self, channels: tuple[str, ...]) -> NDArray[np.intp]:
        index = {channel: i for i, channel in enumerate(self.schema.channel_ids)}
        return np.array([index[channel] for channel in channels], np.intp)

    def _samples(self, view: View, at: NDArray[np.intp], names: tuple[str, ...]) -> Samples:
        chunks = self._table.column(view).chunks
        x = np.concatenate([chunk.to_numpy_ndarray()[:, at] for chunk in chunks])
        ids = [self._table.column(name).to_numpy() for name in _ID_COLUMNS]
        return Samples(x, self._table.column("label").to_numpy(), names, *cast(Any, ids))


def write_dataset(path: Path, tables: Iterable[WindowTable], schema: FeatureSchema, digest: str) -> int:
    """Write a dataset, one record batch per table, whole or not at all. Returns the number of windows.

    Raises `StorageError`, and `DatasetError` if there is no window at all.
    """
    arrow = _arrow_schema(schema).with_metadata(
        {"schema_hash": schema.hash, "schema": schema.canonical(), "digest": digest}
    )
    rows = 0
    with writing(path) as file:
        with pa.ipc.new_file(file, arrow) as writer:
            for batch in _batches(tables, arrow):
                writer.write_batch(batch)
                rows += batch.num_rows
        if rows == 0:
            raise DatasetError(
                path, "not one window", expected="episodes longer than a window", remedy="check the store"
            )
    return rows


def _arrow_schema(schema: FeatureSchema) -> Any:
    shape = len(schema.channels), schema.steps
    return pa.schema(
        [
            ("tensor", pa.fixed_shape_tensor(pa.float32(), shape)),
            ("summary", pa.fixed_shape_tensor(pa.float32(), (len(schema.feature_names),))),
            ("label", pa.int64()),
            ("purity", pa.float32()),
            ("centre_ns", pa.int64()),
            *((name, pa.string()) for name in ("episode_id", "host_id", "profile", "sample_name")),
        ]
    )


def _batches(tables: Iterable[WindowTable], arrow: Any) -> Iterator[Any]:
    for table in tables:
        if len(table.label) == 0:
            continue
        columns = []
        for field in arrow:
            column = getattr(table, field.name)
            if isinstance(field.type, pa.FixedShapeTensorType):
                columns.append(pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(column)))
            else:
                columns.append(pa.array(column, field.type))
        yield pa.record_batch(columns, schema=arrow)


def digest_of(parts: Iterable[str]) -> str:
    """sha256 over lines of text, 64 hex digits."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
