"""Windows in memory: what extraction makes of an episode, and what a model is fitted to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Strings = NDArray[np.object_]
IDS = ("episode_id", "host_id", "profile", "sample_name")


@dataclass(frozen=True)
class WindowTable:
    """Windows of one or many episodes, column by column. tensor: (N, C, T), summary: (N, F), both float32."""

    tensor: NDArray[np.float32]
    summary: NDArray[np.float32]
    label: NDArray[np.int64]
    purity: NDArray[np.float32]
    centre_ns: NDArray[np.int64]
    episode_id: Strings
    host_id: Strings
    profile: Strings
    sample_name: Strings


def joined(tables: Sequence[WindowTable]) -> WindowTable:
    """Several tables as one, in order."""
    if len(tables) == 1:
        return tables[0]
    names = WindowTable.__dataclass_fields__
    return WindowTable(**{name: np.concatenate([getattr(table, name) for table in tables]) for name in names})


@dataclass(frozen=True)
class Samples:
    """What a model is fitted to or judged by.

    x: (N, C, T) tensors or (N, F) summaries, float32, NaN = not observed, or (N, 0) where only ids were asked for;
    y: (N,) int64 labels, indices into the dataset's classes; names: channel ids or feature names;
    purity: (N,) float32; centre_ns: (N,) int64, Unix ns; the rest are per-window ids.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    names: tuple[str, ...]
    purity: NDArray[np.float32]
    centre_ns: NDArray[np.int64]
    episode_id: Strings
    host_id: Strings
    profile: Strings
    sample_name: Strings

    @property
    def mask(self) -> NDArray[np.bool_]:
        """True = observed, of the shape of `x`."""
        observed: NDArray[np.bool_] = ~np.isnan(self.x)
        return observed

    def of(self, episodes: Collection[str]) -> Samples:
        """The windows of some episodes, in order."""
        wanted = frozenset(episodes)
        return self.at(np.flatnonzero(np.fromiter(map(wanted.__contains__, self.episode_id), np.bool_, len(self.y))))

    def at(self, at: NDArray[np.intp]) -> Samples:
        """Some windows, by their rows."""
        columns = (getattr(self, name)[at] for name in ("purity", "centre_ns", *IDS))
        return Samples(self.x[at], self.y[at], self.names, *columns)
