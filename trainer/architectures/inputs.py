"""What every net does first, inside its graph: mask, standardise, and say which steps were observed."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray


class Standardise(keras.layers.Layer):  # type: ignore[misc]  # keras has no types
    """(B, C, T) with NaN -> (B, T, 2C): standardised values (0 where not observed), then the mask as 0 and 1.

    Mean and deviation are of the training side, one pair per channel, and travel in the graph.
    """

    def __init__(self, mean: NDArray[np.float32], std: NDArray[np.float32], **options: Any) -> None:
        super().__init__(**options)
        self._mean = np.asarray(mean, np.float32).reshape(1, -1, 1)
        self._std = np.asarray(std, np.float32).reshape(1, -1, 1)

    @staticmethod
    def statistics(x: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation per channel over all observed steps: two (C,) float32.

        A channel that is constant or never observed gets deviation 1.
        """
        seen = ~np.isnan(x)
        count = np.maximum(seen.sum(axis=(0, 2)), 1)
        mean = np.where(seen, x, 0).sum(axis=(0, 2), dtype=np.float64) / count
        squares = np.where(seen, x - mean[None, :, None], 0) ** 2
        std = np.sqrt(squares.sum(axis=(0, 2), dtype=np.float64) / count)
        return mean.astype(np.float32), np.where(std > 1e-6, std, 1).astype(np.float32)

    def numbers(self) -> dict[str, NDArray[np.float32]]:
        """`mean` and `std`, each (C,) float32."""
        return {"mean": self._mean.ravel(), "std": self._std.ravel()}

    def call(self, x: Any) -> Any:
        """Only operations that TFLite has built in: a comparison finds NaN, there is no IsNan."""
        seen = keras.ops.equal(x, x)
        values = keras.ops.where(seen, (x - self._mean) / self._std, 0.0)
        both = keras.ops.concatenate([keras.ops.clip(values, -8.0, 8.0), keras.ops.cast(seen, "float32")], axis=1)
        return keras.ops.transpose(both, (0, 2, 1))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(B, C, T) -> (B, T, 2C)."""
        batch, channels, steps = shape
        return batch, steps, None if channels is None else 2 * channels
