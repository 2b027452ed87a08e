"""Batches for the loop: shuffled anew every epoch, and the same for the same seed and epoch wherever a fit begins."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.dataset.lazy import LazyWindows
from trainer.dataset.side import Side
from trainer.seeds import as_int32

Floats = NDArray[np.float32]


def batch_size(windows: int) -> int:
    """A power of two from 8 to 256 that makes about 20 steps of an epoch: small sets need steps more than width."""
    return int(min(256, max(8, 2 ** round(math.log2(max(windows, 1) / 20)))))


@dataclass(frozen=True, eq=False)
class Batches:
    """One side in batches of `(x, one-hot y, weight)`. weight_of: (K,) float32, per class."""

    side: Side
    size: int
    seed: int
    weight_of: Floats

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.side) // self.size)

    def epochs(self, first: int, end: int) -> Any:
        """A `tf.data.Dataset` of all batches of the epochs from `first` to before `end`."""
        if isinstance(self.side.windows, LazyWindows):
            return self._mapped(replace(self.side.windows, batch=self.size, seed=self.seed), first, end)
        return self._held(self.side.windows, first, end)

    def _held(self, windows: Floats, first: int, end: int) -> Any:
        x = tf.constant(windows)
        y, weight = self._targets(self.side.y)
        y, weight = tf.constant(y), tf.constant(weight)

        def order(epoch: Any) -> Any:
            seed = tf.stack([as_int32(self.seed), epoch])
            mixed = tf.random.experimental.stateless_shuffle(tf.range(len(windows)), seed=seed)
            return tf.data.Dataset.from_tensor_slices(mixed).batch(self.size)

        return (
            tf.data.Dataset.range(first, end, output_type=tf.int32)
            .flat_map(order)
            .map(lambda at: (tf.gather(x, at), tf.gather(y, at), tf.gather(weight, at)))
            .prefetch(2)
        )

    def _mapped(self, windows: LazyWindows, first: int, end: int) -> Any:
        signature = (
            tf.TensorSpec((None, *windows.shape), tf.float32),
            tf.TensorSpec((None, len(self.weight_of)), tf.float32),
            tf.TensorSpec((None,), tf.float32),
        )

        def batches() -> Iterator[tuple[Floats, Floats, Floats]]:
            for x, y in itertools.chain.from_iterable(map(windows.epoch, range(first, end))):
                yield x, *self._targets(y)

        made = tf.data.Dataset.from_generator(batches, output_signature=signature)
        return made.apply(tf.data.experimental.assert_cardinality(len(self) * (end - first))).prefetch(2)

    def _targets(self, y: NDArray[np.int64]) -> tuple[Floats, Floats]:
        return np.eye(len(self.weight_of), dtype=np.float32)[y], self.weight_of[y]

    def in_order(self) -> Any:
        """The side once through, without shuffling."""
        if isinstance(self.side.windows, LazyWindows):
            return self._mapped(replace(self.side.windows, batch=self.size, seed=None), 0, 1)
        return tf.data.Dataset.from_tensor_slices((self.side.windows, *self._targets(self.side.y))).batch(self.size)

    def batch(self, epoch: int, number: int) -> Floats:
        """The windows of one batch again."""
        some = self.epochs(epoch, epoch + 1).skip(number).take(1)
        x: Floats = next(iter(some.as_numpy_iterator()))[0]
        return x
