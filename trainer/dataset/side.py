"""One side of a split as one architecture sees it: in memory where it fits, else in batches from mapped files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.errors import DatasetError
from trainer.dataset.dataset import Dataset
from trainer.dataset.lazy import LazyWindows
from trainer.dataset.samples import Samples
from trainer.dataset.shard import View

Floats = NDArray[np.float32]
IN_MEMORY = 1 << 30
"""Bytes of windows that one fit may hold. Fixed, not the machine's: the order of batches depends on it a little."""
PART = 512
"""Windows that are looked at together where order does not matter."""


@dataclass(frozen=True, eq=False)
class Side:
    """Windows to learn from, to stop by or to be judged by.

    ids: labels and ids, (N,) each; windows: (N, *shape) float32 in memory, or batches of them, in the order of `ids`.
    """

    ids: Samples
    classes: tuple[str, ...]
    windows: Floats | LazyWindows

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one window: (C, T) or (F,)."""
        return self.windows.shape if isinstance(self.windows, LazyWindows) else self.windows.shape[1:]

    @property
    def y(self) -> NDArray[np.int64]:
        """(N,) labels."""
        return self.ids.y

    @property
    def class_weights(self) -> Floats:
        """(K,) weights under which every class that occurs weighs the same, with mean 1 over the windows."""
        count = np.bincount(self.y, minlength=len(self.classes))
        return (len(self) / np.maximum(count, 1) / np.count_nonzero(count)).astype(np.float32)

    def spread(self, most: int) -> NDArray[np.intp]:
        """Rows of at most so many windows, evenly spaced."""
        return np.unique(np.linspace(0, len(self) - 1, min(len(self), most)).astype(np.intp))

    def __len__(self) -> int:
        return len(self.ids.y)

    def parts(self) -> Iterator[Floats]:
        """All windows in order, some at a time."""
        if isinstance(self.windows, LazyWindows):
            yield from (x for x, _ in self.windows)
        else:
            yield from (self.windows[at : at + PART] for at in range(0, len(self.windows), PART))

    def at(self, rows: NDArray[np.intp]) -> Floats:
        """Some windows, (R, *shape), in memory; `rows` ascend."""
        if not isinstance(self.windows, LazyWindows):
            return self.windows[rows]
        found, done = [], 0
        for x in self.parts():
            found.append(x[rows[(rows >= done) & (rows < done + len(x))] - done])
            done += len(x)
        return np.concatenate(found)


def side_of(
    dataset: Dataset, view: View, channels: tuple[str, ...], episodes: Collection[str], *, in_memory: int = IN_MEMORY
) -> Side:
    """The windows of some episodes. Raises `DatasetError` for a label that is no class."""
    ids = dataset.load_ids().of(episodes)
    require_labels(ids.y, dataset)
    lazy = dataset.load_lazy(view, channels, batch=PART, seed=None, episodes=episodes)
    if 4 * len(ids.y) * int(np.prod(lazy.shape)) > in_memory:
        return Side(ids, dataset.classes, lazy)
    whole = [np.empty((0, *lazy.shape), np.float32), *(x for x, _ in lazy)]
    return Side(ids, dataset.classes, np.concatenate(whole))


def require_labels(y: NDArray[np.int64], dataset: Dataset) -> None:
    """Raises `DatasetError`."""
    unknown = np.unique(y[(y < 0) | (y >= len(dataset.classes))])
    if len(unknown):
        raise DatasetError(
            dataset.path,
            f"label {', '.join(map(str, unknown[:5]))}",
            expected=f"0 to {len(dataset.classes) - 1}: {', '.join(dataset.classes)}",
            remedy="leave those windows out, or name their classes",
        )
