"""A long short-term memory over patches (Hochreiter and Schmidhuber, 1997)."""

from __future__ import annotations

from typing import final

import keras

from trainer.architectures.architecture import Settings
from trainer.architectures.inputs import Normal
from trainer.architectures.net import TENSOR_KNOBS, Net
from trainer.architectures.recurrent import recurrent_net


@final
class Lstm(Net):
    """Beside the gru, it says whether a window has more to remember than one gate can hold."""

    name = "lstm"
    view = "tensor"
    version = 2
    knobs = TENSOR_KNOBS

    def build(self, shape: tuple[int, ...], classes: int, normal: Normal, settings: Settings) -> keras.Model:
        """(B, C, T) -> (B, K)."""
        return recurrent_net(keras.layers.LSTM, self.name, shape, classes, normal, settings)
