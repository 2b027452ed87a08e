"""Windows on disk, as arrays: whole, or in batches for sets larger than memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.errors import DatasetError
from contracts.features.schema import FeatureSchema, feature_names
from trainer.dataset.lazy import LazyWindows
from trainer.dataset.samples import IDS, Samples
from trainer.dataset.shard import Shard, View


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
