"""Channels by which the time can be told: those that creep, and those that warm up."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.stats import spearmanr

from trainer.dataset.dataset import Dataset
from trainer.dataset.side import side_of
from trainer.split import Split

CREEPS = ("proc.rss", "guest.memory_free", "guest.slab", "qmp.write_high_water")
WARMS_UP = ("proc.minor_faults", "proc.read_bytes", "qmp.read_bytes", "qmp.read_ops", "qmp.read_time")
"""Known of guests in QEMU: memory fills and stays full, disks are read most of all at first."""
FOLLOWS = 0.7
"""Median rank correlation with time, within training episodes, from which on a channel is said to creep."""
SAMPLE = 20_000
"""Windows that a quick look needs."""


def suspects(dataset: Dataset, split: Split) -> dict[str, str]:
    """Channels that creep or warm up, and why they are thought to: known ones, and those that follow the time in the
    episodes that are learned from."""
    correlation = time_correlations(dataset, split)
    found = {}
    for channel in dataset.schema.channel_ids:
        if channel in CREEPS:
            found[channel] = "creeps"
        elif channel in WARMS_UP:
            found[channel] = "warms up"
        elif abs(correlation.get(channel, 0.0)) >= FOLLOWS:
            found[channel] = "follows the time in the training episodes"
    return found


def time_correlations(dataset: Dataset, split: Split) -> dict[str, float]:
    """Per channel: the median over training episodes of Spearman's correlation of its windows' means with time."""
    train = side_of(dataset, "summary", dataset.schema.channel_ids, _some(split.train, split))
    width = len(dataset.schema.statistics)
    means = train.at(np.arange(len(train)))[:, ::width].astype(np.float64)
    by_channel: dict[str, list[float]] = {channel: [] for channel in dataset.schema.channel_ids}
    for episode in np.unique(train.ids.episode_id.astype(str)):
        at = np.flatnonzero(train.ids.episode_id == episode)
        time = train.ids.centre_ns[at]
        if len(at) < 4:
            continue
        for i, channel in enumerate(dataset.schema.channel_ids):
            values = means[at, i]
            if np.isnan(values).any() or np.ptp(values) == 0:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                by_channel[channel].append(float(spearmanr(time, values).statistic))
    return {channel: float(np.median(found)) for channel, found in by_channel.items() if found}


def _some(episodes: tuple[str, ...], split: Split) -> tuple[str, ...]:
    """As many whole episodes, evenly spaced, as hold the windows that a quick look needs."""
    per_episode = split.sides["train"].windows / max(1, split.sides["train"].episodes)
    wanted = max(8, int(SAMPLE / max(1.0, per_episode)))
    return episodes if len(episodes) <= wanted else episodes[:: -(-len(episodes) // wanted)]
