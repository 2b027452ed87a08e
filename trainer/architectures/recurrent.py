"""What gru and lstm share: one recurrent layer over patches, read over all of them and not only after the last."""

from __future__ import annotations

from typing import Any

import keras

from trainer.architectures.architecture import Settings
from trainer.architectures.inputs import Normal, decided, over_time, patches


def recurrent_net(
    layer: Any, name: str, shape: tuple[int, ...], classes: int, normal: Normal, settings: Settings
) -> keras.Model:
    """(B, C, T) -> (B, K). layer: one of Keras's recurrent layers."""
    given, width = keras.Input(shape), int(settings["width"])
    x = patches(given, normal, width, settings["dropout"])
    x = keras.layers.LayerNormalization()(keras.layers.Dense(width)(x))
    x = layer(width, return_sequences=True)(x)
    return keras.Model(given, decided(over_time(x), classes, 2 * settings["dropout"]), name=name)
