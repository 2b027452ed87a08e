"""Windows in batches from sets larger than memory: shuffled across shards, and always the same way for one seed.

Runs of neighbouring windows are shuffled across all shards; a pool of them is mapped at a time, and its windows are
shuffled among themselves. Each window is copied once, from the mapped file into its batch.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.dataset.shard import Shard, View

RUN = 64
"""Windows per run: about a megabyte, read in one go."""
POOL = 64
"""Runs per pool: about 75 MB of the mapped file are in use at a time."""

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class _Pool:
    """Windows by where they are: each one's array, row and label."""

    arrays: list[NDArray[np.float32]]
    rows: list[int]
    labels: NDArray[np.int64]

    def part(self, start: int, end: int) -> _Pool:
        return _Pool(self.arrays[start:end], self.rows[start:end], self.labels[start:end])

    def followed_by(self, other: _Pool) -> _Pool:
        return _Pool(self.arrays + other.arrays, self.rows + other.rows, np.append(self.labels, other.labels))


@dataclass(frozen=True, eq=False)
class LazyWindows:
    """Batches `(x (B, C, T) or (B, F) float32, y (B,) int64)`. Iterating gives epoch 0; `epoch(n)` is shuffled anew.

    shape: of one window, whose first axis are the `rows` of what the shards hold.
    """

    shards: Sequence[Shard]
    view: View
    rows: NDArray[np.intp]
    shape: tuple[int, ...]
    batch: int
    seed: int | None
    episodes: frozenset[str] | None = None

    @property
    def windows(self) -> int:
        """N: how many there are in an epoch."""
        return sum(len(at) for at in self._wanted())

    def __len__(self) -> int:
        """Batches in an epoch; the last one may be smaller."""
        return -(-self.windows // self.batch)

    def __iter__(self) -> Iterator[Batch]:
        return self.epoch(0)

    def epoch(self, number: int) -> Iterator[Batch]:
        """All windows once, in the order of this epoch."""
        rng = None if self.seed is None else np.random.default_rng((self.seed, number))
        runs = [
            (shard, at[start : start + RUN])
            for shard, at in enumerate(self._wanted())
            for start in range(0, len(at), RUN)
        ]
        order = np.arange(len(runs)) if rng is None else rng.permutation(len(runs))
        left = _Pool([], [], np.empty(0, np.int64))
        for start in range(0, len(runs), POOL):
            chosen = [runs[i] for i in order[start : start + POOL]]
            pool = left.followed_by(self._pool(chosen, rng))
            whole = len(pool.rows) - len(pool.rows) % self.batch
            for at in range(0, whole, self.batch):
                yield self._gathered(pool.part(at, at + self.batch))
            left = pool.part(whole, len(pool.rows))
        if left.rows:
            yield self._gathered(left)

    def _pool(self, runs: list[tuple[int, NDArray[np.intp]]], rng: np.random.Generator | None) -> _Pool:
        held = {shard: getattr(self.shards[shard], self.view) for shard, _ in runs}
        rows = np.concatenate([rows for _, rows in runs])
        labels = np.concatenate([self.shards[shard].column("label")[rows] for shard, rows in runs])
        arrays = [held[shard] for shard, rows in runs for _ in range(len(rows))]
        if rng is None:
            return _Pool(arrays, rows.tolist(), labels)
        mixed = rng.permutation(len(rows))
        return _Pool([arrays[i] for i in mixed.tolist()], rows[mixed].tolist(), labels[mixed])

    def as_tf(self, epochs: int = 1) -> Any:
        """The same batches as a `tf.data.Dataset`."""
        import tensorflow as tf

        signature = tf.TensorSpec((None, *self.shape), tf.float32), tf.TensorSpec((None,), tf.int64)

        def batches() -> Iterator[Batch]:
            return itertools.chain.from_iterable(map(self.epoch, range(epochs)))

        return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(tf.data.AUTOTUNE)

    def _wanted(self) -> list[NDArray[np.intp]]:
        """Per shard, which of its windows are wanted."""
        if self.episodes is None:
            return [np.arange(len(shard)) for shard in self.shards]
        wanted = self.episodes
        return [
            np.flatnonzero(np.fromiter(map(wanted.__contains__, shard.ids("episode_id")), np.bool_, len(shard)))
            for shard in self.shards
        ]

    def _gathered(self, pool: _Pool) -> Batch:
        x = np.empty((len(pool.rows), *self.shape), np.float32)
        whole = pool.arrays[0].shape[1] == len(self.rows) and self._in_order
        for i, (array, row) in enumerate(zip(pool.arrays, pool.rows, strict=True)):
            if whole:
                x[i] = array[row]
            else:
                array[row].take(self.rows, axis=0, out=x[i])
        return x, pool.labels

    @functools.cached_property
    def _in_order(self) -> bool:
        return bool(np.all(np.diff(self.rows) == 1))
