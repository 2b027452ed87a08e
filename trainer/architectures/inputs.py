"""What every net does first, inside its graph: mask, standardise, and say what was observed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
PATCHES = 20
"""Steps that a tensor's window is cut into: half a second each, of 10 s. Counters at 10 Hz are mostly noise."""


@dataclass(frozen=True)
class Normal:
    """Mean and standard deviation of every channel or feature over the training side: two (C,) or (F,) float32.

    One that is constant or was never observed gets deviation 1.
    """

    mean: Floats
    std: Floats

    @classmethod
    def of(cls, parts: Iterable[Floats]) -> Normal:
        """Of windows (N, C, T) or (N, F), some at a time (Chan, Golub and LeVeque's pairwise update, 1979)."""
        count = mean = squares = np.zeros(())
        for x in parts:
            flat = x.astype(np.float64).reshape(*x.shape[:2], -1)
            seen = ~np.isnan(flat)
            n = seen.sum(axis=(0, 2))
            own = np.where(seen, flat, 0).sum(axis=(0, 2)) / np.maximum(n, 1)
            spread = (np.where(seen, flat - own[:, None], 0) ** 2).sum(axis=(0, 2))
            total = np.maximum(count + n, 1)
            squares = squares + spread + (own - mean) ** 2 * count * n / total
            mean = mean + (own - mean) * n / total
            count = count + n
        std = np.sqrt(squares / np.maximum(count, 1))
        return cls(mean.astype(np.float32), np.where(std > 1e-6, std, 1).astype(np.float32))


class Standardise(keras.layers.Layer):  # type: ignore[misc]  # keras has no types
    """(B, C, T) -> (B, T, 2C), or (B, F) -> (B, 2F): standardised values, at most `clip` deviations off and 0 where
    not observed, then the mask as 0 and 1. The numbers travel in the graph."""

    def __init__(self, normal: Normal, rank: int, clip: float) -> None:
        super().__init__(dtype="float32")  # what comes in is too large for half precision
        self.normal, self._clip = normal, clip
        shape = (1, -1, 1) if rank == 2 else (1, -1)
        self._mean, self._std = normal.mean.reshape(shape), normal.std.reshape(shape)

    def call(self, x: Any) -> Any:
        """Only operations that TFLite has built in: a comparison finds NaN, there is no IsNan."""
        seen = keras.ops.equal(x, x)
        values = keras.ops.where(seen, (x - self._mean) / self._std, 0.0)
        clipped = keras.ops.clip(values, -self._clip, self._clip)
        both = keras.ops.concatenate([clipped, keras.ops.cast(seen, clipped.dtype)], axis=1)
        return keras.ops.transpose(both, (0, 2, 1)) if len(x.shape) == 3 else both

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(B, C, T) -> (B, T, 2C); (B, F) -> (B, 2F)."""
        batch, channels, *steps = shape
        return batch, *steps, None if channels is None else 2 * channels


def patches(given: Any, normal: Normal, width: int, dropout: float) -> Any:
    """(B, C, T) -> (B, about 20, 2 * width): learned patches beside the patch's peaks.

    Strided filters keep what is faster than a patch (Nie et al., PatchTST, ICLR 2023); the maximum keeps short bursts,
    which an average loses. Whole channels are dropped in training: no single one may carry the decision.
    """
    x = Standardise(normal, rank=2, clip=8.0)(given)
    size = max(1, round(given.shape[2] / PATCHES))
    x = keras.layers.SpatialDropout1D(dropout)(x)
    x = keras.layers.GaussianNoise(0.1)(x)
    shapes = keras.layers.Conv1D(width, size, strides=size, use_bias=False)(x)
    peaks = keras.layers.Dense(width, use_bias=False)(keras.layers.MaxPooling1D(size)(x))
    return keras.layers.Concatenate()([shapes, peaks])


def over_time(x: Any) -> Any:
    """(B, P, D) -> (B, 2D): average and maximum."""
    pools = keras.layers.GlobalAveragePooling1D()(x), keras.layers.GlobalMaxPooling1D()(x)
    return keras.layers.Concatenate()(list(pools))


def decided(x: Any, classes: int, dropout: float) -> Any:
    """(B, D) -> (B, K) probabilities, in float32 whatever the layers before compute in."""
    x = keras.layers.Dropout(dropout)(x)
    return keras.layers.Dense(classes, activation="softmax", dtype="float32", name="decision")(x)
