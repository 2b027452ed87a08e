"""Labels and a validation side -> the filter that ships: how phases follow one another, and when the alarm rises.

The threshold comes from the budget: a posterior of odds e^x is wrong once in e^x + 1, so that a model which means what
it says raises about as many false alarms a day as infections begin, divided by e^x. A host that was never seen is off
by more than the validation side shows; `UNSEEN` allows for that. What the validation side itself contradicts goes
higher, as long as that costs it few of its infections.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from contracts.bundle.filter import Filter
from contracts.features.schema import SECOND, FeatureSchema
from contracts.vocabulary import CLEAN, INFECTED
from trainer.dataset.samples import Samples
from trainer.evaluate.listening import Bools, Floats, episodes_in_order, hours, listen, raised_at, stride_of

BUDGET_PER_DAY = 1.0
"""False alarms a clean day."""
UNSEEN = 2.0
"""Nats: how far the odds on a host not learned from are off, from leaving each training host out (docs/adr/0043)."""
CLEAR_BELOW = 0.0
"""Nats: an alarm is over where no infection is the more probable."""
SMOOTHING = 0.1
"""Transitions that were never seen happen so often in all, of each phase."""
KEEP_FOUND = 0.9
"""Of the validation side's infections that the budget's threshold finds: a higher one finds as many at least."""
DAY_NS = 86_400 * SECOND
HIGHEST = 50.0


def fitted_filter(
    learned: Samples,
    validation: Samples,
    believed: NDArray[np.float32],
    classes: Sequence[str],
    schema: FeatureSchema,
    blind: Bools | None = None,
    budget_per_day: float = BUDGET_PER_DAY,
) -> Filter | None:
    """believed: (N, K), what the model says of the validation side, calibrated; blind: (N,), windows without anything
    seen. None where the classes speak of no infection."""
    if not speaks_of_infection(classes):
        return None
    stride_ns = stride_of(learned, schema)
    start, step = transitions((learned, validation), len(classes), stride_ns)
    infected = np.array([name in INFECTED for name in classes])
    begun_a_day = float(step[classes.index(CLEAN), infected].sum()) * DAY_NS / stride_ns
    lowest = min(HIGHEST, max(CLEAR_BELOW, math.log(begun_a_day / budget_per_day) + UNSEEN))
    spec = Filter(
        start=_shares(start),
        transitions=tuple(map(_shares, step)),
        stride_ns=stride_ns,
        raise_at=round(lowest, 3),
        clear_below=CLEAR_BELOW,
        budget_per_day=budget_per_day,
        clean_hours=0.0,
        false_alarms=0,
        supported_per_day=None,
    )
    undecided = np.full(len(validation.y), -1)
    odds = listen(validation, believed, undecided, spec, classes, schema, blind).odds
    return _asked(spec, validation, odds, validation.y == classes.index(CLEAN), infected)


def _asked(spec: Filter, validation: Samples, odds: Floats, clean: Bools, infected: Bools) -> Filter:
    """With the lowest threshold that the validation side has nothing against, from the budget's on; of those that
    cost it few infections, the highest where each raises too many false alarms. odds, clean: (N,); infected: (K,)."""
    tried = np.unique(np.round(np.append(odds[clean & (odds > spec.raise_at)] + 1e-3, spec.raise_at), 3))
    raised = raised_at(validation, odds, tried, spec.clear_below)
    false = np.array([false_alarms(validation, one, clean) for one in raised])
    found = np.array([infections_found(validation, one, infected) for one in raised])
    clean_hours = hours(int(clean.sum()), spec.stride_ns)
    kept = found >= KEEP_FOUND * found[0]
    quiet = kept & (false <= spec.budget_per_day * clean_hours / 24)
    at = int(np.argmax(quiet)) if quiet.any() else int(np.flatnonzero(kept)[-1])
    return msgspec.structs.replace(
        spec,
        raise_at=float(tried[at]),
        false_alarms=int(false[at]),
        clean_hours=round(clean_hours, 4),
        supported_per_day=round(at_most(int(false[at]), clean_hours) * 24, 2) if clean_hours else None,
    )


def speaks_of_infection(classes: Sequence[str]) -> bool:
    """Whether an alarm means anything for these classes."""
    return CLEAN in classes and bool(INFECTED & set(classes))


def at_most(events: int, hours: float) -> float:
    """The upper end of the one-sided 95 % interval of a rate per hour (Garwood, Biometrika 28, 1936): 3 events' worth
    where none was seen."""
    return float(chi2.ppf(0.95, 2 * (events + 1))) / 2 / hours


def transitions(sides: Sequence[Samples], classes: int, stride_ns: int) -> tuple[Floats, Floats]:
    """How episodes start and how phases follow one another a stride later, by their labels: (K,), (K, K)."""
    start, step = np.full(classes, SMOOTHING), np.full((classes, classes), SMOOTHING / classes)
    for side in sides:
        for rows in episodes_in_order(side):
            start[side.y[rows[0]]] += 1
            next_to = np.abs(np.diff(side.centre_ns[rows]) - stride_ns) <= stride_ns // 2
            np.add.at(step, (side.y[rows[:-1]][next_to], side.y[rows[1:]][next_to]), 1.0)
    return start / start.sum(), step / step.sum(axis=1, keepdims=True)


def _shares(row: Floats) -> tuple[float, ...]:
    """Rounded, so that a manifest can be read; a sum that is off by as little changes nothing."""
    return tuple(round(float(share), 8) for share in row)


def false_alarms(ids: Samples, raised: Bools, clean: Bools) -> int:
    """Rises of the alarm in a clean window. raised, clean: (N,)."""
    return sum(int((raised[rows] & clean[rows] & ~_before(raised[rows])).sum()) for rows in episodes_in_order(ids))


def infections_found(ids: Samples, raised: Bools, infected: Bools) -> int:
    """Episodes with an infection during which the alarm stood. infected: (K,)."""
    return sum(bool((raised[rows] & infected[ids.y[rows]]).any()) for rows in episodes_in_order(ids))


def _before(raised: Bools) -> Bools:
    return np.concatenate([[False], raised[:-1]])
