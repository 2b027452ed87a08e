"""The state of a fit on disk, so that one that was killed goes on where it was and ends with the same weights."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path
from typing import Any

import keras
import msgspec
import numpy as np

from contracts.errors import MissingError
from contracts.files import read_file, write_file
from trainer.curves import Curves

EVERY_S = 10.0
"""Seconds of fitting that a kill may cost."""
_MONITORED = ("loss", "val_loss", "val_f1_score")


class _Progress(msgspec.Struct, kw_only=True):
    """How far a fit is. `wait`, `best`: what early stopping goes by."""

    epochs: int
    wait: int
    best: float
    best_epoch: int
    history: dict[str, list[float]]


class Keeper(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Keeps curves, and every few seconds all that a fit needs to go on. Comes after the stopper among callbacks."""

    def __init__(self, net: keras.Model, stopper: keras.callbacks.EarlyStopping, folder: Path | None) -> None:
        super().__init__()
        self._net, self._stopper = net, stopper
        self._path = None if folder is None else folder / "fit-state.npz"
        self._kept_at = time.monotonic()
        self._progress = _Progress(epochs=0, wait=0, best=-np.inf, best_epoch=-1, history={k: [] for k in _MONITORED})
        self._best: list[Any] | None = None

    def restored(self) -> int:
        """Take up what an earlier run left; the number of epochs that are done."""
        try:
            data = b"" if self._path is None else read_file(self._path)
        except MissingError:
            return 0
        if not data:
            return 0
        self._net.optimizer.build(self._net.trainable_variables)
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                progress = msgspec.json.decode(file["progress"].tobytes(), type=_Progress)
                variables = _variables(self._net)
                kept = [file[f"variable_{i:04d}"] for i in range(len(variables))]
                best = [file[f"best_{i:04d}"] for i in range(len(self._net.weights))]
                if [v.shape for v in kept] != [tuple(v.shape) for v in variables]:
                    return 0
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, msgspec.DecodeError):
            return 0  # of another net, or torn: the fit begins anew
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)
        self._progress, self._best = progress, best
        return progress.epochs

    @property
    def waited(self) -> int:
        """Epochs without a better one, up to now."""
        return self._progress.wait

    @property
    def best_weights(self) -> list[Any] | None:
        """Of the best epoch, this run's or an earlier one's."""
        found: list[Any] | None = self._stopper.best_weights
        return self._best if found is None else found

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 # keras names it
        if self._progress.epochs:
            stopper, progress = self._stopper, self._progress
            stopper.wait, stopper.best, stopper.best_epoch = progress.wait, progress.best, progress.best_epoch
            stopper.best_weights = self._best

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """The stopper has looked at this epoch already."""
        progress, stopper = self._progress, self._stopper
        for name in _MONITORED:
            progress.history[name].append(float(logs[name]))
        progress.epochs = epoch + 1
        progress.wait, progress.best, progress.best_epoch = stopper.wait, float(stopper.best), stopper.best_epoch
        if self._path is not None and time.monotonic() - self._kept_at >= EVERY_S:
            self._write(self._path)
            self._kept_at = time.monotonic()

    def _write(self, path: Path) -> None:
        arrays: dict[str, Any] = {f"variable_{i:04d}": np.asarray(v) for i, v in enumerate(_variables(self._net))}
        arrays |= {f"best_{i:04d}": np.asarray(v) for i, v in enumerate(self._stopper.best_weights)}
        arrays["progress"] = np.frombuffer(msgspec.json.encode(self._progress), np.uint8)
        data = io.BytesIO()
        np.savez(data, **arrays)
        write_file(path, data.getvalue())

    def curves(self) -> Curves:
        """Of all epochs, those of earlier runs included."""
        history = self._progress.history
        return Curves(
            unit="epoch",
            loss=history["loss"],
            validation_loss=history["val_loss"],
            validation_f1=history["val_f1_score"],
            best=self._progress.best_epoch,
        )

    def forget(self) -> None:
        """The fit is over."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _variables(net: keras.Model) -> list[Any]:
    """Weights, the states of random generators, and the optimizer's moments and step."""
    return [*net.variables, *net.optimizer.variables]
