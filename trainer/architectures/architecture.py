"""The seam: an architecture fits models; a model predicts, and can be kept and found again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.errors import ConfigError, DatasetError, DivergedError
from trainer.curves import Curves
from trainer.dataset.shard import View
from trainer.dataset.side import Side

Settings = dict[str, float]
"""A model's settings by name, all of them numbers."""


@dataclass(frozen=True, kw_only=True)
class Knob:
    """One setting of an architecture: what it is, and where a search may look. `whole`: a whole number; `quick`: the
    default of quick fits, where it is another."""

    name: str
    default: float
    low: float
    high: float
    quick: float | None = None
    log: bool = False
    whole: bool = False

    def default_of(self, quick: bool) -> float:
        """What a fit takes that was told nothing else."""
        return self.quick if quick and self.quick is not None else self.default


def _in_silence(_done: int, _of: int, _news: str) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How long to try, and from where.

    settings: departures from the architecture's defaults. keep: folder in which an interrupted fit leaves its state,
    and finds it again. progress: called after every round or epoch with (done, of, news).
    """

    seed: int
    quick: bool
    settings: Mapping[str, float] = field(default_factory=dict)
    keep: Path | None = None
    progress: Callable[[int, int, str], None] = _in_silence


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a model would cost a Pi, before it is compiled: bytes of its artifact as int8 weights or as trees, and
    operations for one window (multiply-accumulates, or comparisons). Estimates: the compile stage measures."""

    bytes: int
    operations: int


class Model(ABC):
    """A fitted model. Final classes only; calls are pure."""

    @abstractmethod
    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """x: (N, C, T) tensors or (N, F) summaries, NaN = not observed -> (N, K) probabilities, float32."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the weights into a folder. No pickle."""

    @abstractmethod
    def cost(self) -> Cost:
        """What it would cost."""

    def predict_side(self, side: Side) -> NDArray[np.float32]:
        """(N, K) of all windows of a side, in order."""
        return np.concatenate([self.predict(x) for x in side.parts()])


@dataclass(frozen=True)
class Fitted:
    """A model and how it came about. `fault`: why the fit broke off; the model is then the best until then."""

    model: Model | None
    curves: Curves
    fault: DivergedError | None = None


class Architecture(ABC):
    """A way to make models. `version` is raised when the same settings would give another model."""

    name: ClassVar[str]
    view: ClassVar[View]
    version: ClassVar[int]
    knobs: ClassVar[tuple[Knob, ...]]

    @abstractmethod
    def fit(self, train: Side, validation: Side, settings: FitSettings) -> Fitted:
        """Fit to `train`, stop by `validation`. The same seed gives the same model.

        Raises `DatasetError` (see `require_learnable`), `ConfigError`, `StorageError`.
        """

    @abstractmethod
    def load(self, folder: Path) -> Model:
        """The model that `Model.save` wrote. Raises `DatasetError` if the files are not whole."""

    def resolved(self, settings: Mapping[str, float], *, quick: bool) -> Settings:
        """All settings as a fit uses them: defaults, but for those given. What a model says of itself are these.

        Raises `ConfigError` for one that is not there, or out of its bounds.
        """
        known = {knob.name: knob for knob in self.knobs}
        for name, value in settings.items():
            if name not in known or not known[name].low <= value <= known[name].high:
                expected = ", ".join(f"{k.name} {k.low:g} to {k.high:g}" for k in self.knobs)
                raise ConfigError(f"{self.name}", f"setting {name} = {value}", expected=expected, remedy="correct it")
        return {name: float(settings.get(name, knob.default_of(quick))) for name, knob in known.items()}


def require_learnable(train: Side, validation: Side) -> None:
    """Refuse sides that no model can be fitted to. Raises `DatasetError`."""
    for name, side in (("train", train), ("validation", validation)):
        counts = np.bincount(side.y, minlength=len(side.classes))
        absent = [side.classes[i] for i in np.flatnonzero(counts == 0)]
        if absent:
            raise DatasetError(
                name,
                f"no window of {', '.join(absent)}",
                expected=f"some of each class: {', '.join(side.classes)}",
                remedy="split in another way, or leave the class out of the dataset",
            )


def log_loss(probabilities: NDArray[np.float32], y: NDArray[np.int64]) -> float:
    """Mean negative log likelihood in nats."""
    own = probabilities[np.arange(len(y)), y].astype(np.float64)
    return float(-np.log(np.maximum(own, 1e-7)).mean())
