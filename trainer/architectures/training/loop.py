"""The loop that the five nets share: AdamW with warm-up and cosine decay, class weights, clipped gradients, stopping
by the validation side's macro F1, the best weights kept. Keras does it; what is ours is that it can be resumed, and
that a small validation side stops nothing.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from contracts.errors import DivergedError
from trainer.architectures.training.batches import Batches, batch_size
from trainer.architectures.training.guard import Guard
from trainer.architectures.training.state import Keeper
from trainer.curves import Curves
from trainer.dataset.side import Side

EPOCHS, EPOCHS_QUICK = 120, 40
FEWEST = 100
"""Windows of validation by whose macro F1 a fit is stopped. With fewer it is noise: of 36 windows four in five of which
are right, one standard deviation is seven points, and the highest of many epochs comes by chance, and early. Such fits
run to their end, which the decay of the rate was made for (docs/adr/0046)."""
_WATCHED = "val_f1_less_loss"
STEPS_PER_EPOCH = 15
"""On average at least so many: a set of thirty windows needs more epochs than one of thirty thousand."""


@dataclass(frozen=True, kw_only=True)
class Loop:
    """How to fit. rate: the peak learning rate; decay: of weights; keep, progress: as in `FitSettings`."""

    seed: int
    quick: bool
    rate: float
    decay: float
    keep: Path | None
    progress: Callable[[int, int, str], None]

    def epochs(self, batches: int) -> int:
        """At most so many."""
        wanted = EPOCHS_QUICK if self.quick else EPOCHS
        return max(wanted, math.ceil(STEPS_PER_EPOCH * wanted / batches))


def has_gpu() -> bool:
    """Whether TensorFlow sees one."""
    return bool(tf.config.list_physical_devices("GPU"))


@contextlib.contextmanager
def precision() -> Iterator[None]:
    """Layers made inside compute in half precision where there is a GPU; weights and decisions stay float32."""
    before = keras.mixed_precision.dtype_policy()
    if has_gpu():
        keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)


class _Rate(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Sets the rate before each step. A schedule that is handed to Keras's optimizer is evaluated once per weight, and
    its branches make up a fifth of the graph."""

    def __init__(self, schedule: Callable[[Any], Any], optimizer: keras.optimizers.Optimizer) -> None:
        super().__init__()
        self._set = tf.function(lambda: optimizer.learning_rate.assign(schedule(optimizer.iterations.value)))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 # keras names them
        self._set()


class _Worth(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Of epochs with the same macro F1 the one with the least loss is the best: on a small validation side many have
    the same. On one of fewer windows than `FEWEST` the last epoch is. Comes before the stopper among callbacks."""

    def __init__(self, windows: int) -> None:
        super().__init__()
        self._by_score = windows >= FEWEST

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        logs[_WATCHED] = logs["val_f1_score"] - 1e-4 * min(logs["val_loss"], 10.0) if self._by_score else float(epoch)


class _Told(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Tells how it goes."""

    def __init__(self, epochs: int, progress: Callable[[int, int, str], None]) -> None:
        super().__init__()
        self._epochs, self._progress = epochs, progress

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self._progress(epoch + 1, self._epochs, f"validation macro F1 {logs['val_f1_score']:.3f}")


def fit_net(net: keras.Model, train: Side, validation: Side, loop: Loop) -> tuple[Curves, DivergedError | None]:
    """Fit a net in place; it ends with the weights of the best epoch, also when the loss became no number. The best is
    the last where validation has fewer windows than `FEWEST`.

    Raises `StorageError` if its state cannot be kept.
    """
    batches, epochs, rate = compiled(net, train, loop)
    held = Batches(validation, 512, loop.seed, np.ones(len(train.classes), np.float32))
    stopper = keras.callbacks.EarlyStopping(
        monitor=_WATCHED, mode="max", patience=max(10, epochs // 4), restore_best_weights=True
    )
    keeper = Keeper(net, stopper, loop.keep)
    first = keeper.restored()
    guard = Guard(batches)
    fault = None
    try:
        if first < epochs and keeper.waited < stopper.patience:
            net.fit(
                batches.epochs(first, epochs),
                steps_per_epoch=len(batches),
                initial_epoch=first,
                epochs=epochs,
                validation_data=held.in_order(),
                callbacks=[rate, _Worth(len(validation)), stopper, guard, keeper, _Told(epochs, loop.progress)],
                shuffle=False,
                verbose=0,
            )
    except DivergedError as error:
        fault = error
    curves = keeper.curves()
    if keeper.best_weights is not None:
        net.set_weights(keeper.best_weights)
    keeper.forget()
    return curves, fault


def compiled(net: keras.Model, train: Side, loop: Loop) -> tuple[Batches, int, keras.callbacks.Callback]:
    """Make a net ready: the batches it will see, for how many epochs at most, and what sets its rate."""
    batches = Batches(train, batch_size(len(train)), loop.seed, train.class_weights)
    epochs = loop.epochs(len(batches))
    steps = epochs * len(batches)
    warm_up = max(1, steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=max(1, steps - warm_up), warmup_target=loop.rate, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.AdamW(0.0, weight_decay=loop.decay, clipnorm=1.0)
    score = keras.metrics.F1Score(average="macro")
    # with all variables made the step is traced once; else twice, a second or two each
    optimizer.build(net.trainable_variables)
    nothing = np.zeros((1, len(train.classes)), np.float32)
    score.update_state(nothing, nothing)
    net.compile(optimizer=optimizer, loss=keras.losses.CategoricalCrossentropy(), metrics=[score])
    return batches, epochs, _Rate(schedule, optimizer)
