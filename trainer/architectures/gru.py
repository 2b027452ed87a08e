"""A gated recurrent unit over patches (Cho et al., EMNLP 2014)."""

from __future__ import annotations

from typing import final

import keras

from trainer.architectures.base import Knob, Settings
from trainer.architectures.inputs import Normal, decided, over_time, patches
from trainer.architectures.net import DECAY, DROPOUT, RATE, Net


@final
class Gru(Net):
    """One layer, read over all patches and not only after the last: a phase may begin in the middle of a window."""

    name = "gru"
    view = "tensor"
    version = 1
    knobs = (RATE, DECAY, DROPOUT, Knob(name="width", default=32, low=8, high=64, log=True, whole=True))

    def build(self, shape: tuple[int, ...], classes: int, normal: Normal, settings: Settings) -> keras.Model:
        """(B, C, T) -> (B, K)."""
        given, width = keras.Input(shape), int(settings["width"])
        x = patches(given, normal, width, settings["dropout"])
        x = keras.layers.LayerNormalization()(keras.layers.Dense(width)(x))
        x = keras.layers.GRU(width, return_sequences=True)(x)
        return keras.Model(given, decided(over_time(x), classes, 2 * settings["dropout"]), name=self.name)
