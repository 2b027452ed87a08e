"""The seam: one compiled model, ready to run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray


class Runtime(ABC):
    """A loaded artifact. Calls are pure: the same window gives the same probabilities, whatever came before."""

    kind: ClassVar[str]
    """The name that a bundle's manifest uses."""
    name: str
    """Library and version, as events carry it."""

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """What this machine lacks to run this kind, or None."""

    @classmethod
    @abstractmethod
    def load(cls, data: bytes, *, classes: int) -> Self:
        """Load an artifact's bytes, which must give `classes` probabilities. Raises `BundleError`."""

    @abstractmethod
    def predict(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities of one window.

        window: (C, T) tensor or (F,) summary, float32, NaN = not observed.
        Returns (K,) float32 that add up to 1.
        """

    def predict_many(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, ...) -> (N, K): one window after the other, as on the edge."""
        return np.stack([self.predict(window) for window in windows])
