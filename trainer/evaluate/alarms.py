"""What an operator would see: how soon an alarm comes after the onset of infection, and how often for nothing.

The alarm is the agent's own (`edge.alarm`, by way of `listening`). It counts as found while the guest is infected; one
that comes later is a false one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from contracts.events.payloads import AlarmScore, Interval
from contracts.features.schema import SECOND, FeatureSchema
from contracts.vocabulary import CLEAN, INFECTED
from trainer.dataset.samples import Samples
from trainer.evaluate.figures import Alarms, Operating, ProfileAlarms
from trainer.evaluate.filtering import at_most
from trainer.evaluate.listening import Bools, Listened, hours, raised_at, stride_of
from trainer.evaluate.resampled import Floats, Resampled

MISSED = np.inf
CURVE = np.arange(0.0, 12.25, 0.5)
"""Thresholds of the curve, nats."""


@dataclass(frozen=True)
class _Episode:
    """delay_s: None without an onset, MISSED without an alarm after it."""

    profile: str
    delay_s: float | None
    false_alarms: int
    clean_windows: int


def alarms(test: Samples, raised: Bools, classes: Sequence[str], schema: FeatureSchema, resampled: Resampled) -> Alarms:
    """raised: (N,) bool, whether the alarm stood after each window."""
    found = _episodes(test, raised, classes, schema, resampled)
    stride_ns = stride_of(test, schema)
    delays = np.array([np.nan if one.delay_s is None else one.delay_s for one in found])
    known = np.sort(delays[~np.isnan(delays)])
    quiet = np.array([[one.false_alarms, hours(one.clean_windows, stride_ns)] for one in found])
    count, clean_hours = int(quiet[:, 0].sum()), float(quiet[:, 1].sum())

    def per_day(sums: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(24 * sums[..., 0] / sums[..., 1])

    missed = int(np.isinf(known).sum())
    medians = _medians(delays, resampled)
    median = float(np.median(known)) if len(known) else np.inf
    return Alarms(
        onsets=len(known),
        missed=missed,
        found=share(len(known) - missed, len(known)),
        delays_s=[round(float(delay), 3) for delay in known if np.isfinite(delay)],
        median_delay_s=_finite(resampled.around(median, medians)),
        false_alarms=count,
        clean_hours=clean_hours,
        false_alarms_per_day=resampled.interval(quiet, per_day) if clean_hours else None,
        at_most_per_day=24 * at_most(count, clean_hours) if clean_hours else None,
        per_profile=_by_profile(found, stride_ns),
    )


def curve(
    test: Samples,
    listened: Listened,
    clear_below: float,
    classes: Sequence[str],
    schema: FeatureSchema,
    resampled: Resampled,
) -> list[Operating]:
    """What other thresholds would have given: delay and share found against false alarms."""
    points, stride_ns = [], stride_of(test, schema)
    for threshold, raised in zip(CURVE, raised_at(test, listened.odds, CURVE, clear_below), strict=True):
        found = _episodes(test, raised, classes, schema, resampled)
        delays = [one.delay_s for one in found if one.delay_s is not None]
        clean_hours = hours(sum(one.clean_windows for one in found), stride_ns)
        median = float(np.median(delays)) if delays else MISSED
        points.append(
            Operating(
                raise_at=float(threshold),
                false_alarms_per_day=24 * sum(one.false_alarms for one in found) / clean_hours if clean_hours else None,
                found=float(np.mean(np.isfinite(delays))) if delays else None,
                median_delay_s=round(median, 3) if np.isfinite(median) else None,
            )
        )
    return points


def alarm_score(found: Alarms) -> AlarmScore:
    """The figures that travel with a bundle."""
    return AlarmScore(
        onsets=found.onsets,
        missed=found.missed,
        found=found.found,
        median_delay_s=found.median_delay_s,
        clean_hours=found.clean_hours,
        false_alarms_per_day=found.false_alarms_per_day,
        at_most_per_day=found.at_most_per_day,
    )


def share(hits: int, of: int) -> Interval | None:
    """A share of independent trials with its exact 95 % interval (Clopper and Pearson, Biometrika 26, 1934)."""
    if not of:
        return None
    low = float(beta.ppf(0.025, hits, of - hits + 1)) if hits else 0.0
    high = float(beta.ppf(0.975, hits + 1, of - hits)) if hits < of else 1.0
    return Interval(value=hits / of, low=low, high=high)


def _by_profile(found: list[_Episode], stride_ns: int) -> dict[str, ProfileAlarms]:
    profiles = {}
    for name in sorted({one.profile for one in found}):
        some = [one for one in found if one.profile == name]
        delays = [one.delay_s for one in some if one.delay_s is not None]
        median = float(np.median(delays)) if delays else MISSED
        profiles[name] = ProfileAlarms(
            onsets=len(delays),
            missed=sum(delay == MISSED for delay in delays),
            median_delay_s=round(median, 3) if np.isfinite(median) else None,
            false_alarms=sum(one.false_alarms for one in some),
            clean_hours=round(hours(sum(one.clean_windows for one in some), stride_ns), 4),
        )
    return profiles


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


def _episodes(
    test: Samples, raised: Bools, classes: Sequence[str], schema: FeatureSchema, resampled: Resampled
) -> list[_Episode]:
    """One of each cluster of the resamples, in their order."""
    infected, clean = np.array([name in INFECTED for name in classes]), list(classes).index(CLEAN)
    found = []
    for episode in range(resampled.episodes):
        at = np.flatnonzero(resampled.cluster == episode)
        at = at[np.argsort(test.centre_ns[at], kind="stable")]
        found.append(_watched(test, raised, at, infected, clean, schema))
    return found


def _watched(
    test: Samples, raised: Bools, at: NDArray[np.intp], infected: Bools, clean: int, schema: FeatureSchema
) -> _Episode:
    """One episode, window by window. at: (W,) its windows in order of time."""
    half = schema.window_ns // 2
    onset, detected, before, false_alarms = None, None, False, 0
    for i in at:
        if onset is None and infected[test.y[i]]:
            # the first window of the phase reaches into it for as long as its purity says
            onset = int(test.centre_ns[i]) + half - round(float(test.purity[i]) * schema.window_ns)
            detected = onset if before else None
        if raised[i] and not before and test.y[i] == clean:
            false_alarms += 1
        if raised[i] and infected[test.y[i]] and detected is None:  # one that comes later is for something else
            detected = int(test.centre_ns[i]) + half + schema.settle_ns
        before = bool(raised[i])
    delay = None
    if onset is not None:
        delay = MISSED if detected is None else (detected - onset) / SECOND
    return _Episode(str(test.profile[at[0]]), delay, false_alarms, int((test.y[at] == clean).sum()))
