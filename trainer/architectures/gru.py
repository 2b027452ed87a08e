"""A gated recurrent unit over patches (Cho et al., EMNLP 2014)."""

from __future__ import annotations

from typing import final

import keras

from trainer.architectures.architecture import Settings
from trainer.architectures.inputs import Normal
from trainer.architectures.net import TENSOR_KNOBS, Net
from trainer.architectures.recurrent import recurrent_net


@final
class Gru(Net):
    """Half the gates of an lstm: less to learn from few windows."""

    name = "gru"
    view = "tensor"
    version = 2
    knobs = TENSOR_KNOBS

    def build(self, shape: tuple[int, ...], classes: int, normal: Normal, settings: Settings) -> keras.Model:
        """(B, C, T) -> (B, K)."""
        return recurrent_net(keras.layers.GRU, self.name, shape, classes, normal, settings)
