"""A small transformer encoder over patches (Vaswani et al., 2017; patches after Nie et al., PatchTST, ICLR 2023)."""

from __future__ import annotations

from typing import Any, final

import keras

from trainer.architectures.architecture import Settings
from trainer.architectures.inputs import Normal, decided, over_time, patches
from trainer.architectures.net import TENSOR_KNOBS, Net

HEADS = 2


class Positions(keras.layers.Layer):  # type: ignore[misc]  # keras has no types
    """(B, P, D) plus one learned vector per place in the window."""

    def build(self, shape: tuple[int, ...]) -> None:
        """Small numbers, so that patches count more than their places at first."""
        self._place = self.add_weight(shape=shape[1:], initializer=keras.initializers.RandomNormal(stddev=0.02))

    def call(self, x: Any) -> Any:
        """Add them."""
        return x + self._place


@final
class Transformer(Net):
    """One block, normalised before attention as is usual today: it learns without a long warm-up."""

    name = "transformer"
    view = "tensor"
    version = 2
    knobs = TENSOR_KNOBS

    def build(self, shape: tuple[int, ...], classes: int, normal: Normal, settings: Settings) -> keras.Model:
        """(B, C, T) -> (B, K)."""
        given, width, dropout = keras.Input(shape), int(settings["width"]), settings["dropout"]
        x = patches(given, normal, width, dropout)
        x = Positions()(keras.layers.Dense(width)(x))
        n = keras.layers.LayerNormalization()(x)
        x = x + keras.layers.Dropout(dropout / 2)(
            keras.layers.MultiHeadAttention(HEADS, max(1, width // HEADS), dropout=dropout / 2)(n, n)
        )
        n = keras.layers.LayerNormalization()(x)
        n = keras.layers.Dense(width)(keras.layers.Dense(2 * width, activation="gelu")(n))
        x = keras.layers.LayerNormalization()(x + keras.layers.Dropout(dropout / 2)(n))
        return keras.Model(given, decided(over_time(x), classes, 2 * dropout), name=self.name)
