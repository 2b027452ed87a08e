"""One shard of a dataset: an Arrow IPC file with one record batch, memory-mapped.

Columns: `tensor` (fixed-shape (C, T) float32, NaN = not observed), `mask` (C * T bits, true = observed), `summary`
(fixed-shape (F,) float32), label, purity, centre_ns, and the ids. The metadata carries the feature schema, its hash and
the digest of what went in.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from contracts.errors import DatasetError, MissingError
from contracts.features.schema import FeatureSchema, require_schema
from contracts.files import writing
from trainer.dataset.samples import IDS, Strings, WindowTable
from trainer.dataset.shard import observed_share


def write_shard(path: Path, table: WindowTable, schema: FeatureSchema, inputs: str) -> None:
    """Write windows, whole or not at all. Raises `StorageError`."""
    arrow = _arrow_schema(schema).with_metadata(
        {"schema_hash": schema.hash, "schema": schema.canonical(), "inputs": inputs}
    )
    tensor = np.ascontiguousarray(table.tensor)
    observed = np.packbits(~np.isnan(tensor.ravel()), bitorder="little")
    bits = pa.BooleanArray.from_buffers(pa.bool_(), tensor.size, [None, pa.py_buffer(observed)])
    made = {
        "tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(tensor),
        "mask": pa.FixedSizeListArray.from_arrays(bits, len(schema.channels) * schema.steps),
        "summary": pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(table.summary)),
        **{name: pa.array(getattr(table, name), pa.string()).dictionary_encode() for name in IDS},
    }
    columns = [made[f.name] if f.name in made else pa.array(getattr(table, f.name), f.type) for f in arrow]
    with writing(path) as file, pa.ipc.new_file(file, arrow) as writer:
        writer.write_batch(pa.record_batch(columns, schema=arrow))


def _arrow_schema(schema: FeatureSchema) -> Any:
    shape = len(schema.channels), schema.steps
    return pa.schema(
        [
            ("tensor", pa.fixed_shape_tensor(pa.float32(), shape)),
            ("mask", pa.list_(pa.bool_(), shape[0] * shape[1])),
            ("summary", pa.fixed_shape_tensor(pa.float32(), (len(schema.feature_names),))),
            ("label", pa.int64()),
            ("purity", pa.float32()),
            ("centre_ns", pa.int64()),
            *((name, pa.dictionary(pa.int32(), pa.string())) for name in IDS),
        ]
    )


class ArrowShard:
    """An open shard. Arrays are views of the mapped file: nothing is read before it is looked at."""

    def __init__(self, path: Path, schema: FeatureSchema) -> None:
        """Raises `MissingError`, `DatasetError`, `SchemaMismatchError`."""
        try:
            with pa.memory_map(os.fsencode(path)) as source:
                reader = pa.ipc.open_file(source)
                if reader.num_record_batches != 1:
                    raise pa.ArrowInvalid(f"{reader.num_record_batches} record batches")
                self._batch = reader.get_batch(0)
        except FileNotFoundError:
            raise MissingError(path, "no such file", expected="a shard", remedy="extract the dataset again") from None
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(
                path, f"not a shard ({error})", expected="an Arrow file", remedy="extract it again"
            ) from None
        require_schema((self._batch.schema.metadata or {}).get(b"schema_hash", b"none").decode(), schema, path)
        self.path = path

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    @functools.cached_property
    def tensor(self) -> NDArray[np.float32]:
        """(N, C, T)."""
        return self._shaped("tensor")

    @functools.cached_property
    def summary(self) -> NDArray[np.float32]:
        """(N, F)."""
        return self._shaped("summary")

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(N, C, T), as stored."""
        flat: NDArray[np.bool_] = self._batch.column("mask").flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(self.tensor.shape)

    def observed(self, start: int, end: int) -> NDArray[np.float64]:
        """(n, C): as `Shard` says."""
        return observed_share(self.tensor[start:end])

    def column(self, name: str) -> NDArray[Any]:
        """label, purity or centre_ns: (N,)."""
        values: NDArray[Any] = self._batch.column(name).to_numpy()
        return values

    def ids(self, name: str) -> Strings:
        """One of the ids: (N,), one string object per distinct value."""
        column = self._batch.column(name)
        names = np.array(column.dictionary.to_pylist(), object)
        some: Strings = names[column.indices.to_numpy()]
        return some

    def _shaped(self, name: str) -> NDArray[np.float32]:
        values: NDArray[np.float32] = self._batch.column(name).to_numpy_ndarray()
        return values
