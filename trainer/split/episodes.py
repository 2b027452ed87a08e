"""What a recipe may go by: one line per episode of a dataset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from contracts.errors import DatasetError
from trainer.dataset.dataset import Dataset


@dataclass(frozen=True)
class EpisodeFacts:
    """What a recipe may go by. start_ns, end_ns: from its first window's start to its last one's end, Unix ns."""

    episode_id: str
    host_id: str
    profile: str
    sample_name: str
    start_ns: int
    end_ns: int
    windows: int
    phases: tuple[int, ...]
    """Windows per class."""


def episodes_of(dataset: Dataset) -> list[EpisodeFacts]:
    """The episodes of a dataset, in order of id. Raises `DatasetError` where one id stands for several."""
    ids = dataset.load_ids()
    half = dataset.schema.window_ns // 2
    names, first, which = np.unique(ids.episode_id.astype(str), return_index=True, return_inverse=True)
    for name in ("host_id", "profile", "sample_name"):
        several = np.flatnonzero(getattr(ids, name) != getattr(ids, name)[first][which])
        if len(several):
            raise DatasetError(
                dataset.path,
                f"episode {ids.episode_id[several[0]]} with more than one {name}",
                expected="one: splits go by whole episodes",
                remedy="give different episodes different ids",
            )
    windows = np.bincount(which, minlength=len(names))
    phases = np.zeros((len(names), len(dataset.classes)), np.int64)
    np.add.at(phases, (which, ids.y), 1)
    start, end = np.full(len(names), 2**63 - 1), np.full(len(names), -(2**63) + 1)
    np.minimum.at(start, which, ids.centre_ns - half)
    np.maximum.at(end, which, ids.centre_ns + half)
    return [
        EpisodeFacts(
            str(names[i]),
            str(ids.host_id[first[i]]),
            str(ids.profile[first[i]]),
            str(ids.sample_name[first[i]]),
            int(start[i]),
            int(end[i]),
            int(windows[i]),
            tuple(phases[i].tolist()),
        )
        for i in range(len(names))
    ]
