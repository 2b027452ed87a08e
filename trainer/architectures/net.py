"""A fitted Keras net, kept as arrays: `weights.npz` and the shape to build it anew. Nothing that is executed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from contracts.errors import DatasetError
from trainer.architectures.base import Model
from trainer.architectures.inputs import Standardise

Build = Callable[[int, int, NDArray[np.float32], NDArray[np.float32]], keras.Model]


class NetModel(Model):
    """A net with input (B, C, T) and output (B, K)."""

    def __init__(self, net: keras.Model) -> None:
        self.net = net

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, C, T) -> (N, K)."""
        parts = [np.asarray(self.net(x[i : i + 512], training=False)) for i in range(0, len(x), 512)]
        return np.concatenate(parts) if parts else np.zeros((0, self.net.output_shape[-1]), np.float32)

    def save(self, folder: Path) -> None:
        """Arrays alone."""
        standardise = next(layer for layer in self.net.layers if isinstance(layer, Standardise))
        weights = {f"weight_{i:03d}": weight for i, weight in enumerate(self.net.get_weights())}
        channels, steps = self.net.input_shape[1:]
        np.savez(folder / "weights.npz", shape=[channels, steps], **standardise.numbers(), **weights)


def load_net(folder: Path, build: Build) -> NetModel:
    """The net that `NetModel.save` wrote. Raises `DatasetError` if the file is not whole."""
    path = folder / "weights.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            channels, steps = (int(n) for n in file["shape"])
            keras.backend.clear_session()  # layers are numbered from one again: their names end up in the artifact
            net = build(channels, steps, file["mean"], file["std"])
            net.set_weights([file[name] for name in sorted(file.files) if name.startswith("weight_")])
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DatasetError(path, f"unreadable ({error})", expected="a net's weights", remedy="fit it again") from None
    return NetModel(net)
