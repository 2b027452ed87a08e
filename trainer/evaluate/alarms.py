"""What an operator would see: how soon an alarm comes after the onset of infection, and how often for nothing.

The alarm is the agent's own (`edge.alarm`), over the windows of an episode in order, abstentions included. It counts as
found while the guest is infected; one that comes later is a false one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.events.payloads import Interval
from contracts.features.schema import SECOND, FeatureSchema
from contracts.vocabulary import CLEAN, INFECTED
from edge.alarm import Alarm
from trainer.dataset.samples import Samples
from trainer.evaluate.figures import Alarms, Detection
from trainer.evaluate.resampled import Floats, Resampled

Probabilities = NDArray[np.float32]
ALLOWED = 0.01
"""Of the clean windows: those that may be taken for infected."""
MISSED = np.inf
_LEVELS, _RESAMPLES = 1000, 2000
"""Thresholds that are looked at, each just above a clean window's score: all of them, or so many, evenly; and how many
of the resamples this figure is worked out on."""


def speaks_of_infection(classes: tuple[str, ...]) -> bool:
    """Whether an alarm means anything for these classes."""
    return CLEAN in classes and bool(INFECTED & set(classes))


@dataclass(frozen=True)
class _Episode:
    """delay_s: None without an onset, MISSED without an alarm after it."""

    delay_s: float | None
    false_alarms: int
    clean_s: float


def alarms(
    test: Samples, decided: NDArray[np.int64], classes: tuple[str, ...], schema: FeatureSchema, resampled: Resampled
) -> Alarms:
    """decided: (N,) int64, -1 where the model abstains."""
    infected, stride_s = np.array([name in INFECTED for name in classes]), _stride_s(test, resampled, schema)
    found = []
    for episode in range(resampled.episodes):
        at = np.flatnonzero(resampled.cluster == episode)
        at = at[np.argsort(test.centre_ns[at], kind="stable")]
        found.append(_watched(test, decided, at, infected, classes.index(CLEAN), schema, stride_s))
    delays = np.array([np.nan if one.delay_s is None else one.delay_s for one in found])
    known = np.sort(delays[~np.isnan(delays)])
    quiet = np.array([[one.false_alarms, one.clean_s / 3600] for one in found])

    def per_hour(sums: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(sums[..., 0] / sums[..., 1])

    medians = _medians(delays, resampled)
    median = float(np.median(known)) if len(known) else np.inf
    return Alarms(
        onsets=len(known),
        missed=int(np.isinf(known).sum()),
        delays_s=[round(float(delay), 3) for delay in known if np.isfinite(delay)],
        median_delay_s=_finite(resampled.around(median, medians)),
        false_alarms=int(quiet[:, 0].sum()),
        clean_hours=float(quiet[:, 1].sum()),
        false_alarms_per_hour=resampled.interval(quiet, per_hour) if quiet[:, 1].sum() > 0 else None,
    )


def _stride_s(test: Samples, resampled: Resampled, schema: FeatureSchema) -> float:
    """Seconds from window to window, as they are in the data: arrays from elsewhere may overlap."""
    order = np.lexsort((test.centre_ns, resampled.cluster))
    steps = np.diff(test.centre_ns[order])[np.diff(resampled.cluster[order]) == 0]
    return float(np.median(steps)) / SECOND if len(steps) else schema.stride_ns / SECOND


def _finite(median: Interval) -> Interval | None:
    """None where half of the onsets are missed; an end of the interval where half of a resample's are."""
    if not np.isfinite(median.value):
        return None
    low, high = (end if end is not None and np.isfinite(end) else None for end in (median.low, median.high))
    return Interval(value=median.value, low=low, high=high)


def _medians(delays: Floats, resampled: Resampled) -> Floats:
    """The median delay of every resample, missed ones counted as endless; NaN where none has an onset."""
    order = np.argsort(delays, kind="stable")[: np.count_nonzero(~np.isnan(delays))]
    if not len(order):
        return np.array([np.inf])
    found = []
    for draws in resampled.some_at_a_time():
        upto = np.cumsum(draws[:, order], axis=1)
        total = upto[:, -1:]
        low = np.argmax(upto >= np.ceil(total / 2), axis=1)
        high = np.argmax(upto >= np.floor(total / 2) + 1, axis=1)
        value = (delays[order][low] + delays[order][high]) / 2
        found.append(np.where(total[:, 0] > 0, value, np.nan))
    return np.concatenate(found)


def _watched(
    test: Samples,
    decided: NDArray[np.int64],
    at: NDArray[np.intp],
    infected: NDArray[np.bool_],
    clean: int,
    schema: FeatureSchema,
    stride_s: float,
) -> _Episode:
    """One episode, window by window. at: (W,) its windows in order of time."""
    alarm, half = Alarm(), schema.window_ns // 2
    onset, detected, before, false_alarms = None, None, False, 0
    for i in at:
        if onset is None and infected[test.y[i]]:
            # the first window of the phase reaches into it for as long as its purity says
            onset = int(test.centre_ns[i]) + half - round(float(test.purity[i]) * schema.window_ns)
            detected = onset if before else None
        raised = alarm.see(None if decided[i] < 0 else bool(infected[decided[i]]))
        if raised and not before and test.y[i] == clean:
            false_alarms += 1
        if raised and infected[test.y[i]] and detected is None:  # one that comes later is for something else
            detected = int(test.centre_ns[i]) + half + schema.settle_ns
        before = raised
    delay = None
    if onset is not None:
        delay = MISSED if detected is None else (detected - onset) / SECOND
    return _Episode(delay, false_alarms, int((test.y[at] == clean).sum()) * stride_s)


def detection(
    test: Samples, probabilities: Probabilities, classes: tuple[str, ...], resampled: Resampled
) -> Detection | None:
    """True positive rate at 1 % false positives; None where one of the two was never recorded."""
    found = detection_of(test, probabilities, classes, resampled)
    if found is None:
        return None
    infected = [i for i, name in enumerate(classes) if name in INFECTED]
    return Detection(
        infected=int(np.isin(test.y, infected).sum()),
        clean=int((test.y == classes.index(CLEAN)).sum()),
        true_positive_rate=resampled.around(*found),
    )


def detection_of(
    test: Samples, probabilities: Probabilities, classes: tuple[str, ...], resampled: Resampled
) -> tuple[float, Floats] | None:
    """That rate, and those of resamples (R,), the same ones for every model."""
    infected_columns = [i for i, name in enumerate(classes) if name in INFECTED]
    score = probabilities[:, infected_columns].sum(axis=1, dtype=np.float64)
    positive = np.isin(test.y, infected_columns)
    negative = test.y == classes.index(CLEAN)
    if not positive.any() or not negative.any():
        return None
    rate = true_positive_rates(score, positive, negative, resampled.cluster, np.ones((1, resampled.episodes)))
    rates = true_positive_rates(score, positive, negative, resampled.cluster, resampled.draws[:_RESAMPLES])
    return float(rate[0]), rates


def true_positive_rates(
    score: Floats,
    positive: NDArray[np.bool_],
    negative: NDArray[np.bool_],
    cluster: NDArray[np.int64],
    draws: Floats | NDArray[np.uint8],
) -> Floats:
    """Share of the positive windows whose score is above the lowest threshold that at most 1 % of the negatives are
    above. draws: (R, E) how often each episode counts -> (R,); NaN where either is absent."""
    levels = -np.unique(-score[negative])  # a threshold is just above a clean window's score; the highest first
    if len(levels) > _LEVELS:
        levels = levels[np.linspace(0, len(levels) - 1, _LEVELS).astype(int)]
    false, true = (np.zeros((draws.shape[1], len(levels) + 2)) for _ in range(2))
    # at level k, what scores more than levels[k] counts: a clean window from the level after its own on
    np.add.at(false, (cluster[negative], np.searchsorted(-levels, -score[negative], side="left") + 1), 1.0)
    np.add.at(true, (cluster[positive], np.searchsorted(-levels, -score[positive], side="right")), 1.0)
    windows = [np.bincount(cluster[side], minlength=draws.shape[1]) for side in (negative, positive)]
    rates = np.empty(len(draws))
    step = max(1, (1 << 22) // len(levels))
    for start in range(0, len(draws), step):
        counts = draws[start : start + step].astype(np.float64)
        alarms_false, alarms_true = (np.cumsum(counts @ side[:, : len(levels)], axis=1) for side in (false, true))
        all_false, all_true = (counts @ one for one in windows)
        with np.errstate(divide="ignore", invalid="ignore"):
            hits = np.where(alarms_false <= ALLOWED * all_false[:, None], alarms_true, 0).max(axis=1) / all_true
        rates[start : start + step] = np.where((all_false > 0) & (all_true > 0), hits, np.nan)
    return rates
