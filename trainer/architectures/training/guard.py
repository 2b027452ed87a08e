"""Stop a fit whose loss is no number, and say where it began."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from contracts.errors import DivergedError
from trainer.architectures.training.batches import Batches


class Guard(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Looks at the loss of every batch. Raises `DivergedError`."""

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self._batches = batches
        self._epoch = 0
        self._before: list[Any] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002 # keras names it
        self._epoch, self._before = epoch, self.model.get_weights()

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """`loss` is a mean over the epoch so far: once no number, it stays none."""
        if np.isfinite(logs["loss"]):
            return
        self.model.set_weights(self._before)
        x = self._batches.batch(self._epoch, batch)
        layer = first_layer_out_of_numbers(self.model, x)
        found = f"gives none on that batch in layer {layer}" if layer else "is finite on that batch before the epoch"
        raise DivergedError(
            f"{self.model.name}, epoch {self._epoch + 1}, batch {batch + 1}",
            f"the loss is not a number (the net {found})",
            expected="numbers",
            remedy="look at the windows for extreme values, or lower the learning rate",
        )


def first_layer_out_of_numbers(net: keras.Model, x: np.ndarray[Any, np.dtype[np.float32]]) -> str | None:
    """The first layer, from the input on, whose output on x holds a value that is no number; None if there is none."""
    layers = [layer for layer in net.layers if not isinstance(layer, keras.layers.InputLayer)]
    outputs = keras.Model(net.input, [layer.output for layer in layers])(x, training=False)
    for layer, output in zip(layers, outputs, strict=True):
        if not np.isfinite(np.asarray(output)).all():
            return str(layer.name)
    return None
