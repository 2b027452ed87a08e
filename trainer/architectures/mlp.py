"""A multi-layer perceptron on summaries: two hidden layers, mostly dropout."""

from __future__ import annotations

from typing import final

import keras

from trainer.architectures.architecture import Knob, Settings
from trainer.architectures.inputs import Normal, Standardise, decided
from trainer.architectures.net import DECAY, RATE, Net


@final
class Mlp(Net):
    """Four statistics of six are heavy-tailed: values are clipped at four deviations (docs/adr/0013)."""

    name = "mlp"
    view = "summary"
    version = 2
    knobs = (
        RATE,
        DECAY,
        Knob(name="dropout", default=0.4, low=0.0, high=0.6),
        Knob(name="width", default=64, low=16, high=128, log=True, whole=True),
    )

    def build(self, shape: tuple[int, ...], classes: int, normal: Normal, settings: Settings) -> keras.Model:
        """(B, F) -> (B, K)."""
        given = keras.Input(shape)
        x = Standardise(normal, rank=1, clip=4.0)(given)
        x = keras.layers.Dropout(settings["dropout"] / 2)(x)
        x = keras.layers.GaussianNoise(0.1)(x)
        for width in (int(settings["width"]), int(settings["width"]) // 2):
            x = keras.layers.Dense(width, use_bias=False)(x)
            x = keras.layers.BatchNormalization(momentum=0.9)(x)
            x = keras.layers.ReLU()(x)
            x = keras.layers.Dropout(settings["dropout"])(x)
        return keras.Model(given, decided(x, classes, 0.0), name=self.name)
