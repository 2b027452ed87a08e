"""What the agent's alarm (`edge.alarm`) makes of a side's windows, episode by episode, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.bundle.filter import Filter
from contracts.features.schema import SECOND, FeatureSchema
from edge.alarm import Forward, Seen, alarm_of
from edge.scores import choices
from trainer.dataset.samples import Samples

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Listened:
    """raised: (N,) bool, whether the alarm stood after each window; phase: (N,) int64, the filter's, -1 without one;
    odds: (N,) float64, its log odds of an infection in nats, NaN without one and where nothing was
    seen."""

    raised: Bools
    phase: NDArray[np.int64]
    odds: Floats


def episodes_in_order(ids: Samples) -> Iterator[NDArray[np.intp]]:
    """The rows of each episode, in order of time."""
    _, which = np.unique(ids.episode_id.astype(str), return_inverse=True)
    order = np.lexsort((ids.centre_ns, which))
    yield from np.split(order, np.flatnonzero(np.diff(which[order])) + 1) if len(order) else ()


def stride_of(ids: Samples, schema: FeatureSchema) -> int:
    """Nanoseconds from window to window, as they are in the data: arrays from elsewhere may overlap."""
    steps = [np.diff(ids.centre_ns[rows]) for rows in episodes_in_order(ids)]
    found = np.concatenate(steps) if steps else np.empty(0, np.int64)
    return int(np.median(found)) if len(found) else schema.stride_ns


def sure_of(believed: NDArray[np.float32], abstain_below: float, blind: Bools) -> NDArray[np.int64]:
    """What the agent decides of each window: (N,), -1 where it abstains or sees nothing. believed: (N, K)."""
    return np.where((believed.max(axis=1) >= abstain_below) & ~blind, choices(believed), -1)


def listen(
    ids: Samples,
    believed: NDArray[np.float32],
    sure: NDArray[np.int64],
    spec: Filter | None,
    classes: Sequence[str],
    schema: FeatureSchema,
    blind: Bools | None = None,
) -> Listened:
    """believed: (N, K) calibrated; sure: (N,) what was decided, -1 where the model abstains; blind: (N,) windows of
    which nothing was seen."""
    n = len(ids.y)
    raised, phase, odds = np.zeros(n, np.bool_), np.full(n, -1, np.int64), np.full(n, np.nan)
    unseen = choices(believed) < 0 if blind is None else blind | (choices(believed) < 0)
    ends = ids.centre_ns + schema.window_ns // 2
    for rows in episodes_in_order(ids):
        alarm = alarm_of(spec, classes)
        for i in rows:
            chosen = None if sure[i] < 0 else int(sure[i])
            heard = alarm.see(Seen(int(ends[i]), None if unseen[i] else believed[i], chosen))
            raised[i], phase[i] = heard.raised, -1 if heard.phase is None else heard.phase
            if isinstance(alarm, Forward) and not unseen[i]:
                odds[i] = alarm.odds
    return Listened(raised, phase, odds)


def raised_at(ids: Samples, odds: Floats, raise_at: Floats, clear_below: float) -> Bools:
    """Whether the filter's alarm would have stood, for many thresholds: (N,), (T,) -> (T, N)."""
    found = np.zeros((len(raise_at), len(odds)), np.bool_)
    for rows in episodes_in_order(ids):
        now = np.zeros(len(raise_at), np.bool_)
        for i in rows:
            if not np.isnan(odds[i]):  # without evidence it stays as it is
                now = (odds[i] >= raise_at) | (now & (odds[i] >= clear_below))
            found[:, i] = now
    return found


def hours(windows: int, stride_ns: int) -> float:
    """So many windows, one a stride."""
    return windows * stride_ns / SECOND / 3600
