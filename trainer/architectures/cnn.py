"""A small convolutional net on tensors: half-second means, two blocks of filters, average and maximum over time."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from contracts.phases import PHASES
from trainer.architectures.base import Architecture, FitSettings, Model
from trainer.architectures.inputs import Standardise
from trainer.architectures.net import NetModel, load_net
from trainer.corpus.samples import Samples
from trainer.fit import fit_net

Floats = NDArray[np.float32]
STEPS_POOLED = 5


class Cnn(Architecture):
    """About 20,000 weights, most of them in the first block: it sees every channel over 2.5 s."""

    name = "cnn"
    view = "tensor"
    version = 1

    def fit(self, train: Samples, validation: Samples, settings: FitSettings) -> Model:
        """Fit with the loop that the nets share."""
        keras.utils.set_random_seed(settings.seed)
        mean, std = Standardise.statistics(train.x)
        net = self.build(train.x.shape[1], train.x.shape[2], mean, std)
        fit_net(net, train, validation, settings)
        return NetModel(net)

    def build(self, channels: int, steps: int, mean: Floats, std: Floats) -> keras.Model:
        """The net: (B, C, T) -> (B, K)."""
        given = keras.Input((channels, steps))
        x = Standardise(mean, std)(given)
        x = keras.layers.AveragePooling1D(STEPS_POOLED)(x)  # 10 Hz counters are mostly noise; phases last seconds
        x = keras.layers.SpatialDropout1D(0.2)(x)  # whole channels: no single one may carry the decision
        x = keras.layers.GaussianNoise(0.1)(x)
        for filters, stride in ((32, 1), (48, 2)):
            x = keras.layers.Conv1D(filters, 5, strides=stride, padding="same", use_bias=False)(x)
            x = keras.layers.BatchNormalization()(x)
            x = keras.layers.ReLU()(x)
            x = keras.layers.Dropout(0.2)(x)
        pooled = keras.layers.Concatenate()(
            [keras.layers.GlobalAveragePooling1D()(x), keras.layers.GlobalMaxPooling1D()(x)]
        )
        pooled = keras.layers.Dropout(0.4)(pooled)
        return keras.Model(given, keras.layers.Dense(len(PHASES), activation="softmax")(pooled), name=self.name)

    def load(self, folder: Path) -> Model:
        """Build anew and read the weights back."""
        return load_net(folder, self.build)
