"""The loop that all nets share: AdamW with warm-up and cosine decay, early stopping, best weights kept."""

from __future__ import annotations

import math

import keras
import numpy as np

from contracts.errors import WorkError
from trainer.architectures.base import FitSettings, class_weights
from trainer.corpus.samples import Samples

BATCH = 32
PEAK_RATE = 2e-3


def fit_net(net: keras.Model, train: Samples, validation: Samples, settings: FitSettings) -> None:
    """Fit a net in place; it ends with the weights that had the lowest validation loss. Raises `WorkError` on NaN."""
    epochs = 40 if settings.quick else 120
    steps = epochs * math.ceil(len(train.y) / BATCH)
    warm_up = max(1, steps // 20)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=steps - warm_up, warmup_target=PEAK_RATE, warmup_steps=warm_up
    )
    net.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=1e-3, clipnorm=1.0),
        loss=keras.losses.SparseCategoricalCrossentropy(),
    )

    class Report(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            loss = (logs or {}).get("val_loss", float("nan"))
            if not np.isfinite(loss):
                raise WorkError(
                    f"{net.name}, epoch {epoch + 1}", "loss is not a number", expected="a number", remedy="see the data"
                )
            settings.progress(epoch + 1, epochs, f"validation log loss {loss:.3f}")

    net.fit(
        train.x,
        train.y,
        sample_weight=class_weights(train.y),
        validation_data=(validation.x, validation.y, class_weights(validation.y)),
        epochs=epochs,
        batch_size=BATCH,
        callbacks=[
            Report(),
            keras.callbacks.EarlyStopping(
                monitor="val_loss", patience=max(8, epochs // 5), restore_best_weights=True, verbose=0
            ),
        ],
        verbose=0,
    )
