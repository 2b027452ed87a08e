"""What is in a dataset: counts, what was observed, distributions, and drift between hosts. Shard by shard."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from trainer.dataset.dataset import Dataset

SAMPLE = 500_000
"""Distributions are taken over at most about so many windows, evenly spaced."""
BINS = 10
QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
STABLE, DRIFTED = 0.1, 0.25
"""The usual reading of a population stability index (Siddiqi, Credit Risk Scorecards, 2006): below the first, no shift;
above the second, a large one."""


class ChannelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One channel. Distributions are of the windows' means, in the channel's unit after its transform."""

    channel: str
    unit: str
    transform: str
    observed: float
    """Share of all steps."""
    observed_by_host: dict[str, float]
    quantiles: dict[str, list[float] | None]
    """Per host, at `QUANTILES`; None where nothing was observed."""
    drift: dict[str, float]
    """Per host, the population stability index against all other hosts; "not observed" is a bin of its own."""


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset in numbers."""

    schema_hash: str
    digest: str
    windows: int
    episodes: int
    classes: tuple[str, ...]
    by_phase: dict[str, int]
    by_host: dict[str, dict[str, int]]
    """host -> phase -> windows."""
    by_profile: dict[str, dict[str, int]]
    """profile -> host -> windows."""
    episodes_by_host: dict[str, int]
    pure: float
    """Share of the windows that lie in one phase from end to end."""
    sampled: int
    """Windows that distributions and drift were taken over."""
    channels: list[ChannelFacts]


def describe(dataset: Dataset) -> Description:
    """Count, and hold hosts against each other. Raises `DatasetError`."""
    ids = dataset.load_ids()
    hosts, host = np.unique(ids.host_id.astype(str), return_inverse=True)
    profiles, profile = np.unique(ids.profile.astype(str), return_inverse=True)
    phases = np.bincount(host * len(dataset.classes) + ids.y, minlength=len(hosts) * len(dataset.classes))
    crossed = np.bincount(profile * len(hosts) + host, minlength=len(profiles) * len(hosts))
    pairs = set(zip(ids.episode_id, ids.host_id, strict=True))
    stride = -(-len(ids.y) // SAMPLE)
    means, shares = _means(dataset, stride), _observed(dataset, host, len(hosts))
    sampled_host = host[::stride]
    names = [str(name) for name in hosts]
    return Description(
        schema_hash=dataset.schema.hash,
        digest=dataset.digest,
        windows=len(ids.y),
        episodes=len(pairs),
        classes=dataset.classes,
        by_phase=dict(zip(dataset.classes, np.bincount(ids.y, minlength=len(dataset.classes)).tolist(), strict=True)),
        by_host=_table(names, dataset.classes, phases),
        by_profile=_table([str(name) for name in profiles], names, crossed),
        episodes_by_host={name: sum(of == name for _, of in pairs) for name in names},
        pure=float(np.mean(ids.purity >= 1 - 1e-6)),
        sampled=len(sampled_host),
        channels=[
            ChannelFacts(
                channel=channel.id,
                unit=channel.unit,
                transform=channel.transform,
                observed=float(shares[:, i].sum() / len(ids.y)),
                observed_by_host={
                    name: float(shares[k, i] / np.count_nonzero(host == k)) for k, name in enumerate(names)
                },
                quantiles={name: _quantiles(means[sampled_host == k, i]) for k, name in enumerate(names)},
                drift={
                    name: stability_index(means[sampled_host == k, i], means[sampled_host != k, i])
                    for k, name in enumerate(names)
                    if len(names) > 1
                },
            )
            for i, channel in enumerate(dataset.schema.channels)
        ],
    )


def stability_index(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Population stability index of two samples: sum of (p - q) ln(p / q) over the deciles of `expected`.

    NaN is a bin of its own. Half a count is added to each bin, so that an empty one is not infinite.
    """
    known = expected[~np.isnan(expected)].astype(np.float64)
    edges = np.unique(np.quantile(known, np.arange(1, BINS) / BINS)) if len(known) else np.empty(0)

    def shares(values: NDArray[np.float32]) -> NDArray[np.float64]:
        missing = np.isnan(values)
        bins = np.searchsorted(edges, values[~missing], side="right")
        counts = np.append(np.bincount(bins, minlength=len(edges) + 1), np.count_nonzero(missing)) + 0.5
        share: NDArray[np.float64] = counts / counts.sum()
        return share

    p, q = shares(found), shares(expected)
    return float(np.sum((p - q) * np.log(p / q)))


def _table(rows: list[str], columns: tuple[str, ...] | list[str], flat: NDArray[np.int64]) -> dict[str, dict[str, int]]:
    counts = flat.reshape(len(rows), len(columns)).tolist()
    return {row: dict(zip(columns, some, strict=True)) for row, some in zip(rows, counts, strict=True)}


def _means(dataset: Dataset, stride: int) -> NDArray[np.float32]:
    """(n, C): every `stride`-th window's mean per channel."""
    width, at = len(dataset.schema.statistics), dataset.schema.statistics.index("mean")
    return np.concatenate([summary[:, at::width][offset::stride] for summary, offset in _offsets(dataset, stride)])


def _offsets(dataset: Dataset, stride: int) -> Iterator[tuple[NDArray[np.float32], int]]:
    passed = 0
    for shard in dataset.shards:
        yield shard.summary, -passed % stride
        passed += len(shard)


def _observed(dataset: Dataset, host: NDArray[np.intp], hosts: int) -> NDArray[np.float64]:
    """(hosts, C): the windows' observed shares, added up."""
    total = np.zeros((hosts, len(dataset.schema.channels)))
    passed = 0
    for shard in dataset.shards:
        of = host[passed : passed + len(shard)]
        for start in range(0, len(shard), 1024):
            np.add.at(total, of[start : start + 1024], shard.observed(start, start + 1024))
        passed += len(shard)
    return total


def _quantiles(values: NDArray[np.float32]) -> list[float] | None:
    known = values[~np.isnan(values)]
    return [float(value) for value in np.quantile(known, QUANTILES)] if len(known) else None
