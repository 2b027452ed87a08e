"""A small convolutional net on tensors: patches, two blocks of filters, average and maximum over time."""

from __future__ import annotations

from typing import final

import keras

from trainer.architectures.architecture import Settings
from trainer.architectures.inputs import Normal, decided, over_time, patches
from trainer.architectures.net import TENSOR_KNOBS, Net


@final
class Cnn(Net):
    """After the fully convolutional net of Wang, Yan and Oates (IJCNN 2017), a tenth of its width."""

    name = "cnn"
    view = "tensor"
    version = 3
    knobs = TENSOR_KNOBS

    def build(self, shape: tuple[int, ...], classes: int, normal: Normal, settings: Settings) -> keras.Model:
        """(B, C, T) -> (B, K)."""
        given, width = keras.Input(shape), int(settings["width"])
        x = patches(given, normal, width, settings["dropout"])
        for filters, stride in ((width, 1), (width * 3 // 2, 2)):
            x = keras.layers.Conv1D(filters, 5, strides=stride, padding="same", use_bias=False)(x)
            x = keras.layers.BatchNormalization(momentum=0.9)(x)
            x = keras.layers.ReLU()(x)
            x = keras.layers.Dropout(settings["dropout"])(x)
        return keras.Model(given, decided(over_time(x), classes, 2 * settings["dropout"]), name=self.name)
