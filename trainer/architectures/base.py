"""The seam: an architecture fits models; a model predicts, and can be kept and found again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from contracts.phases import PHASES
from trainer.corpus.dataset import View
from trainer.corpus.samples import Samples


def _in_silence(_done: int, _of: int, _news: str) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How long to try. `progress` is called after every round or epoch with (done, of, news)."""

    seed: int
    quick: bool
    progress: Callable[[int, int, str], None] = _in_silence


class Model(ABC):
    """A fitted model. Final classes only; calls are pure."""

    @abstractmethod
    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """x: (N, C, T) tensors or (N, F) summaries, NaN = not observed -> (N, K) probabilities, float32."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the weights into a folder. No pickle."""


class Architecture(ABC):
    """A way to make models. `version` is raised when the same settings would give another model."""

    name: ClassVar[str]
    view: ClassVar[View]
    version: ClassVar[int]

    @abstractmethod
    def fit(self, train: Samples, validation: Samples, settings: FitSettings) -> Model:
        """Fit to `train`, stop by `validation`. The same seed gives the same model."""

    @abstractmethod
    def load(self, folder: Path) -> Model:
        """The model that `Model.save` wrote."""


def class_weights(y: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N,) weights under which every class that occurs weighs the same, with mean 1."""
    count = np.bincount(y, minlength=len(PHASES))
    weight = len(y) / np.maximum(count, 1) / np.count_nonzero(count)
    return weight[y].astype(np.float32)


def log_loss(probabilities: NDArray[np.float32], y: NDArray[np.int64]) -> float:
    """Mean negative log likelihood in nats."""
    own = probabilities[np.arange(len(y)), y].astype(np.float64)
    return float(-np.log(np.maximum(own, 1e-7)).mean())
