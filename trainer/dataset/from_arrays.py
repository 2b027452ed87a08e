"""Arrays from elsewhere as a dataset: other channels, other classes, other window lengths, any groups as hosts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from contracts.errors import DatasetError
from contracts.features.channels import Channel
from contracts.features.schema import SECOND, FeatureSchema
from contracts.files import file_sha256, locked
from contracts.vocabulary import PHASES
from edge.extract import summarise
from trainer.dataset.arrow import write_shard
from trainer.dataset.dataset import Dataset
from trainer.dataset.folder import (
    SHARD_BYTES,
    SHARDS,
    DatasetManifest,
    ShardEntry,
    content_digest,
    drop_others,
    write_manifest,
)
from trainer.dataset.open import open_dataset
from trainer.dataset.partition import partition
from trainer.dataset.samples import WindowTable


def write_dataset(
    path: Path,
    X: ArrayLike,
    mask: ArrayLike | None,
    y: ArrayLike,
    *,
    episode_id: Sequence[str],
    host_id: Sequence[str],
    profile: Sequence[str] | None = None,
    sample_name: Sequence[str] | None = None,
    channels: tuple[Channel, ...],
    classes: tuple[str, ...] = PHASES,
    centre_ns: ArrayLike | None = None,
    purity: ArrayLike | None = None,
    step_ns: int = SECOND // 10,
    shard_bytes: int = SHARD_BYTES,
) -> Dataset:
    """Write your own windows as a dataset that every command takes.

    X: (N, C, T) numbers, stored as float32, NaN = not observed; may be larger than memory (a memory map).
    mask: (N, C, T) bool, True = observed, or None: whatever is not NaN.
    y: (N,) whole numbers, indices into `classes`.
    episode_id, host_id, profile, sample_name: (N,) strings. Splits go by whole episodes; an episode has one host, one
    profile and one sample. Without profiles or samples all windows are of one, `all`.
    channels: C of them, kind `given` (made in code, or read from TOML by `contracts.features.channels.read_channels`).
    centre_ns: (N,) Unix ns; without, the windows of an episode follow one another from 0, so held_out_time refuses.
    purity: (N,) the share of the window that has the label; 1 without.
    step_ns: time between two steps, ns.

    The same arrays give the same bytes. Raises `DatasetError`, `ConfigError`, `BusyError`, `StorageError`.
    """
    values, labels = np.asanyarray(X), np.asarray(y)
    ids = {
        "episode_id": _texts("episode_id", episode_id),
        "host_id": _texts("host_id", host_id),
        "profile": _texts("profile", ["all"] * len(labels) if profile is None else profile),
        "sample_name": _texts("sample_name", ["all"] * len(labels) if sample_name is None else sample_name),
    }
    observed = None if mask is None else np.asanyarray(mask)
    _check(values, observed, labels, ids, channels, classes)
    steps = values.shape[2]
    schema = FeatureSchema(
        channels=channels,
        step_ns=step_ns,
        window_ns=steps * step_ns,
        stride_ns=steps * step_ns,
        flow_horizon_ns=step_ns,
    )
    episodes, which = np.unique(ids["episode_id"], return_inverse=True)
    centres = _back_to_back(which, schema.window_ns) if centre_ns is None else _numbers("centre_ns", centre_ns, labels)
    purities = np.ones(len(labels)) if purity is None else _numbers("purity", purity, labels)
    order = np.lexsort((centres, which))
    bounds = np.searchsorted(which[order], np.arange(len(episodes) + 1))
    window_bytes = 4 * (len(channels) * steps + len(schema.feature_names))
    groups = partition(
        range(len(episodes)),
        lambda i: str(episodes[i]),
        lambda i: int(bounds[i + 1] - bounds[i]) * window_bytes,
        shard_bytes,
    )
    with locked(path / ".lock"):
        shards = []
        for bits, group in groups:
            at = np.concatenate([order[bounds[i] : bounds[i + 1]] for i in group])
            tensor = np.array(values[at], np.float32)
            if observed is not None:
                tensor[~observed[at].astype(np.bool_)] = np.nan
            table = WindowTable(
                tensor=tensor,
                summary=summarise(tensor, schema),
                label=labels[at].astype(np.int64),
                purity=purities[at].astype(np.float32),
                centre_ns=centres[at].astype(np.int64),
                **{name: column[at] for name, column in ids.items()},
            )
            inputs = _digest(table)
            name = f"{bits or 'all'}-{inputs[:16]}.arrow"
            write_shard(path / SHARDS / name, table, schema, inputs)
            shards.append(ShardEntry(name=name, sha256=file_sha256(path / SHARDS / name), windows=len(at)))
        manifest = DatasetManifest(
            schema_hash=schema.hash,
            feature_schema=schema,
            classes=classes,
            digest=content_digest(schema, classes, shards),
            windows=len(labels),
            episodes=len(episodes),
            left_out={},
            shards=tuple(shards),
        )
        write_manifest(path, manifest)
        drop_others(path / SHARDS, shards)
    return open_dataset(path, schema)


def _back_to_back(which: NDArray[np.intp], window_ns: int) -> NDArray[np.int64]:
    """Times for windows without any: those of an episode follow one another."""
    number = np.zeros(len(which), np.int64)
    order = np.argsort(which, kind="stable")
    first = np.searchsorted(which[order], which[order])
    number[order] = np.arange(len(which)) - first
    return number * window_ns + window_ns // 2


def _digest(table: WindowTable) -> str:
    whole = hashlib.sha256()
    for name in WindowTable.__dataclass_fields__:
        column = getattr(table, name)
        whole.update("\n".join(column).encode() if column.dtype == object else np.ascontiguousarray(column).tobytes())
    return whole.hexdigest()


def _refuse(found: str, expected: str) -> DatasetError:
    return DatasetError("write_dataset", found, expected=expected, remedy="correct the arrays")


def _texts(name: str, values: Sequence[str]) -> NDArray[np.object_]:
    some = np.array([str(value) for value in values], object)
    if any(not text or len(text) > 128 or not text.isprintable() or set(text) & set(",/") for text in some):
        raise _refuse(f"an empty, unprintable or very long {name}", "up to 128 printable characters, no comma or slash")
    return some


def _numbers(name: str, values: ArrayLike, labels: NDArray[Any]) -> NDArray[Any]:
    some = np.asarray(values)
    if some.shape != labels.shape or some.dtype.kind not in "iuf" or not np.all(np.isfinite(some)):
        raise _refuse(f"{name} of shape {some.shape}, {some.dtype}", f"{labels.shape} numbers, all of them finite")
    low, high = (0, 1) if name == "purity" else (-(2**62), 2**62)
    if some.min() < low or some.max() > high:
        raise _refuse(f"{name} from {some.min()} to {some.max()}", f"{low} to {high}")
    return some


def _check(
    values: NDArray[Any],
    mask: NDArray[Any] | None,
    labels: NDArray[Any],
    ids: dict[str, NDArray[np.object_]],
    channels: tuple[Channel, ...],
    classes: tuple[str, ...],
) -> None:
    """Raises `DatasetError`."""
    if values.ndim != 3 or values.dtype.kind not in "iuf" or 0 in values.shape:
        raise _refuse(f"X of shape {values.shape}, {values.dtype}", "(N, C, T) numbers, at least one of each")
    if len(channels) != values.shape[1]:
        raise _refuse(f"{len(channels)} channels for {values.shape[1]} rows of X", "one for each")
    if len({channel.id for channel in channels}) != len(channels):
        raise _refuse("a channel twice", "names that occur once")
    if mask is not None and mask.shape != values.shape:
        raise _refuse(f"mask of shape {mask.shape}", f"{values.shape}, as X")
    if labels.shape != (len(values),) or labels.dtype.kind not in "iu":
        raise _refuse(f"y of shape {labels.shape}, {labels.dtype}", f"({len(values)},) whole numbers")
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise _refuse(f"classes {', '.join(classes)}", "two at least, each once")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise _refuse(f"labels from {labels.min()} to {labels.max()}", f"0 to {len(classes) - 1}, one per class")
    for name, some in ids.items():
        if some.shape != labels.shape:
            raise _refuse(f"{len(some)} values of {name}", f"{len(labels)}, one per window")
    for start in range(0, len(values), 1024):
        with np.errstate(over="ignore"):
            if np.any(np.isinf(np.asarray(values[start : start + 1024], np.float32))):
                raise _refuse("a value in X that float32 cannot hold", "numbers, or NaN for what was not observed")
    for name in ("host_id", "profile", "sample_name"):
        pairs = set(zip(ids["episode_id"], ids[name], strict=True))
        if len(pairs) > len(set(ids["episode_id"])):
            raise _refuse(f"an episode with more than one {name}", "one: splits go by whole episodes")
