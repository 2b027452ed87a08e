"""What the five nets share: fitting by the one loop, and being kept as arrays. Nothing that is executed is stored."""

from __future__ import annotations

import functools
import io
import zipfile
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import keras
import msgspec
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from contracts.errors import DatasetError
from trainer.architectures.architecture import (
    Architecture,
    Cost,
    FitSettings,
    Fitted,
    Knob,
    Model,
    Settings,
    require_learnable,
)
from trainer.architectures.inputs import Normal, Standardise
from trainer.architectures.training.loop import Loop, fit_net, precision
from trainer.architectures.training.seeded import seeded
from trainer.dataset.side import Side

RATE = Knob(name="rate", default=2e-3, low=2e-4, high=1e-2, log=True)
DECAY = Knob(name="decay", default=1e-3, low=1e-5, high=1e-1, log=True)
TENSOR_KNOBS = (
    RATE,
    DECAY,
    Knob(name="dropout", default=0.2, low=0.0, high=0.5),
    Knob(name="width", default=32, low=8, high=64, log=True, whole=True),
)
_SHAPE, _WEIGHTS = "net.json", "weights.npz"


class _Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    shape: tuple[int, ...]
    classes: int
    settings: Settings


@final
class NetModel(Model):
    """A net with input (B, C, T) or (B, F) and output (B, K), and what it was built from."""

    def __init__(self, net: keras.Model, settings: Settings) -> None:
        self.net, self.settings = net, settings

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, …) -> (N, K)."""
        parts = [np.asarray(self._answer(x[i : i + 512])) for i in range(0, len(x), 512)]
        return np.concatenate(parts) if parts else np.zeros((0, self.net.output_shape[-1]), np.float32)

    @functools.cached_property
    def _answer(self) -> Callable[[NDArray[np.float32]], Any]:
        """The net as one graph: a recurrent one answers five times faster so than operation by operation."""
        some = tf.TensorSpec((None, *self.net.input_shape[1:]), tf.float32)
        graph: Callable[[NDArray[np.float32]], Any] = tf.function(
            lambda x: self.net(x, training=False), input_signature=[some]
        )
        return graph

    def save(self, folder: Path) -> None:
        """Arrays, and the shape to build the net anew."""
        (normal,) = (layer.normal for layer in self.net.layers if isinstance(layer, Standardise))
        weights = {f"weight_{i:03d}": weight for i, weight in enumerate(self.net.get_weights())}
        data = io.BytesIO()  # a zip file that a full disk cuts off complains when it is collected, too
        np.savez(data, mean=normal.mean, std=normal.std, **weights)
        (folder / _WEIGHTS).write_bytes(data.getvalue())
        shape = _Shape(shape=self.net.input_shape[1:], classes=self.net.output_shape[-1], settings=self.settings)
        (folder / _SHAPE).write_bytes(msgspec.json.encode(shape, order="sorted"))

    def cost(self) -> Cost:
        """A byte per weight and 10 kB of graph; a multiplication per weight and place where it is applied."""
        return Cost(bytes=self.net.count_params() + 10_000, operations=sum(map(_operations, self.net.layers)))


def _operations(layer: Any) -> int:
    """Multiply-accumulates of one layer for one window."""
    places = int(np.prod(layer.output.shape[1:-1], dtype=np.int64)) if len(layer.output.shape) > 2 else 1
    attention = 2 * places**2 * layer.output.shape[-1] if isinstance(layer, keras.layers.MultiHeadAttention) else 0
    return int(layer.count_params()) * places + attention


class Net(Architecture):
    """Abstract: a member says how it is built; all else is the same for the five."""

    @abstractmethod
    def build(self, shape: tuple[int, ...], classes: int, normal: Normal, settings: Settings) -> keras.Model:
        """The net: (B, *shape) -> (B, classes)."""

    @final
    def fit(self, train: Side, validation: Side, settings: FitSettings) -> Fitted:
        """Fit with the loop that the nets share."""
        require_learnable(train, validation)
        resolved = self.resolved(settings.settings, quick=settings.quick)
        with seeded(settings.seed), precision():
            net = self.build(train.shape, len(train.classes), Normal.of(train.parts()), resolved)
        loop = Loop(seed=settings.seed, quick=settings.quick, rate=resolved["rate"], decay=resolved["decay"],
                    keep=settings.keep, progress=settings.progress)  # fmt: skip
        curves, fault = fit_net(net, train, validation, loop)
        return Fitted(NetModel(net, resolved) if curves.best >= 0 else None, curves, fault)

    @final
    def load(self, folder: Path) -> Model:
        """Build anew and read the weights back."""
        path = folder / _WEIGHTS
        try:
            shape = msgspec.json.decode((folder / _SHAPE).read_bytes(), type=_Shape)
            with np.load(path, allow_pickle=False) as file:
                keras.backend.clear_session()  # layers are numbered from one again: their names end up in the artifact
                net = self.build(shape.shape, shape.classes, Normal(file["mean"], file["std"]), shape.settings)
                net.set_weights([file[name] for name in sorted(file.files) if name.startswith("weight_")])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, msgspec.DecodeError) as error:
            raise DatasetError(
                path, f"unreadable ({error})", expected="a net's weights", remedy="fit it again"
            ) from None
        return NetModel(net, shape.settings)
