"""Where channels are in a window, and which windows an agent would see nothing of."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.dataset.side import Side


def rows_of(wanted: Collection[str], channels: Sequence[str], shape: tuple[int, ...]) -> NDArray[np.intp]:
    """Where some channels are on a window's first axis: one row of a tensor, six columns of a summary."""
    width = shape[0] // len(channels)
    at = np.array([i for i, channel in enumerate(channels) if channel in wanted], np.intp)
    return (at[:, None] * width + np.arange(width)).ravel()


def source_of(channel: str) -> str:
    """`proc` of `proc.rss`."""
    return channel.partition(".")[0]


def blind_windows(side: Side, channels: tuple[str, ...]) -> NDArray[np.bool_]:
    """Windows of which the agent would see nothing (`edge.model.detector`): (N,)."""
    sampled = rows_of([channel for channel in channels if source_of(channel) != "netflow"], channels, side.shape)
    if not len(sampled):
        return np.zeros(len(side), np.bool_)
    return np.concatenate([np.isnan(x[:, sampled]).reshape(len(x), -1).all(axis=1) for x in side.parts()])
