"""The seam between a dataset and its files: a shard."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.dataset.samples import Strings

View = Literal["summary", "tensor"]
"""What an architecture looks at."""


class Shard(Protocol):
    """Some windows of a dataset, on disk."""

    def __len__(self) -> int: ...
    @property
    def tensor(self) -> NDArray[np.float32]:
        """(N, C, T)."""

    @property
    def summary(self) -> NDArray[np.float32]:
        """(N, F)."""

    def observed(self, start: int, end: int) -> NDArray[np.float64]:
        """(n, C) of some windows: the share of each one's steps that was observed; of summaries alone, whether any."""

    def column(self, name: str) -> NDArray[Any]:
        """label, purity or centre_ns: (N,)."""

    def ids(self, name: str) -> Strings:
        """episode_id, host_id, profile or sample_name: (N,)."""


def observed_share(tensor: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, C, T) -> (n, C)."""
    share: NDArray[np.float64] = (~np.isnan(tensor)).mean(axis=2)
    return share
