"""The filter that is fitted: its transitions, its threshold for a budget, and what a validation side lacks."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contracts.bundle.filter import Filter
from contracts.features.schema import SECOND, FeatureSchema, feature_schema
from contracts.vocabulary import PHASES
from trainer.dataset.samples import Samples
from trainer.evaluate.filtering import UNSEEN, fitted_filter, transitions
from trainer.evaluate.listening import listen, raised_at

CLEAN, ARMED, INFECTING, RUNNING, DORMANT = range(5)
STRIDE = 5 * SECOND


def side(seed: int, *, episodes: int = 8, phases: tuple[int, ...] = (CLEAN, INFECTING, RUNNING, CLEAN)) -> Samples:
    """Episodes that go through some phases, each of five to thirty windows."""
    rng = np.random.default_rng(seed)
    y, names, centre = [], [], []
    for number in range(episodes):
        labels = np.concatenate([np.full(rng.integers(5, 30), phase) for phase in phases])
        y.append(labels)
        names += [f"e{seed}-{number}"] * len(labels)
        centre.append((number * 10_000 + np.arange(len(labels))) * STRIDE)
    ids = np.array(names, object)
    labels = np.concatenate(y).astype(np.int64)
    return Samples(
        np.empty((len(labels), 0), np.float32), labels, (), np.ones(len(labels), np.float32),
        np.concatenate(centre).astype(np.int64), *(ids,) * 4,
    )  # fmt: skip


def said(ids: Samples, seed: int, sharp: float = 1.5) -> NDArray[np.float32]:
    """A model that is mostly right."""
    logits = np.random.default_rng(seed).normal(size=(len(ids.y), 5))
    logits[np.arange(len(ids.y)), ids.y] += sharp
    p = np.exp(logits)
    return np.asarray(p / p.sum(axis=1, keepdims=True), np.float32)


def fitted(schema: FeatureSchema, validation: Samples, p: NDArray[np.float32], budget: float = 1.0) -> Filter:
    spec = fitted_filter(side(1), validation, p, PHASES, schema, budget_per_day=budget)
    assert spec is not None
    return spec


def test_transitions_are_counted_from_window_to_next_window_and_not_over_gaps() -> None:
    ids = side(3, episodes=1, phases=(CLEAN, RUNNING))
    gap = ids.at(np.flatnonzero(np.arange(len(ids.y)) % 7 != 3))
    start, step = transitions((ids,), 5, STRIDE)
    assert start.argmax() == CLEAN
    clean = int((ids.y == CLEAN).sum())
    assert step[CLEAN, RUNNING] == pytest.approx((1 + 0.02) / (clean + 0.1))
    _, fewer = transitions((gap,), 5, STRIDE)
    pairs = np.diff(gap.centre_ns) == STRIDE
    assert fewer[CLEAN, CLEAN] > 0.5
    assert pairs.sum() < len(gap.y) - 1


def test_a_larger_budget_never_raises_the_threshold(schema: FeatureSchema) -> None:
    validation = side(2)
    p = said(validation, 5)
    found = [fitted(schema, validation, p, budget).raise_at for budget in (0.01, 1.0, 100.0, 10_000.0)]
    assert found == sorted(found, reverse=True)
    assert found[0] - found[1] == pytest.approx(np.log(100), abs=0.01) or found[0] == found[1]


def test_the_threshold_is_what_the_budget_asks_where_the_validation_side_has_nothing_against_it(
    schema: FeatureSchema,
) -> None:
    validation = side(2)
    spec = fitted(schema, validation, said(validation, 5, sharp=12.0))
    _, step = transitions((side(1), validation), 5, STRIDE)
    begun = step[CLEAN, [INFECTING, RUNNING, DORMANT]].sum() * 86_400 / 5
    assert spec.raise_at == pytest.approx(np.log(begun) + UNSEEN, abs=0.01)
    assert (spec.false_alarms, spec.budget_per_day) == (0, 1.0)


def test_false_alarms_of_the_validation_side_push_the_threshold_above_them(schema: FeatureSchema) -> None:
    """Unless that costs it more than one in ten of its infections."""
    validation = side(2)
    p = said(validation, 5, sharp=12.0)
    starts = np.flatnonzero(np.diff(validation.centre_ns, prepend=0) > 100 * STRIDE)
    quiet = next(start for start in starts if (validation.y[start : start + 14] == CLEAN).all())
    rows = np.arange(quiet + 4, quiet + 10)
    p[rows] = np.full(5, 0.001, np.float32)
    p[rows, RUNNING] = 0.996
    spec = fitted(schema, validation, p)
    alone = fitted(schema, validation, said(validation, 5, sharp=12.0))
    assert spec.raise_at > alone.raise_at
    assert spec.false_alarms == 0


def test_validation_without_an_infection_is_no_ground_to_refuse(schema: FeatureSchema) -> None:
    quiet = side(4, phases=(CLEAN, ARMED, CLEAN))
    spec = fitted(schema, quiet, said(quiet, 1))
    assert spec.clean_hours == pytest.approx((quiet.y == CLEAN).sum() * 5 / 3600, abs=1e-4)
    assert spec.supported_per_day == pytest.approx(24 * 2.9957 / spec.clean_hours, rel=1e-3)


def test_validation_without_clean_hours_supports_no_budget_and_says_so(schema: FeatureSchema) -> None:
    ill = side(4, phases=(INFECTING, RUNNING, DORMANT))
    spec = fitted(schema, ill, said(ill, 1))
    assert (spec.clean_hours, spec.false_alarms, spec.supported_per_day) == (0.0, 0, None)


def test_classes_that_speak_of_no_infection_have_no_filter(schema: FeatureSchema) -> None:
    ids = side(1)
    assert fitted_filter(ids, ids, said(ids, 0), ("a", "b", "c", "d", "e"), schema) is None


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(-2, 9), st.booleans())
def test_many_thresholds_at_once_give_what_the_agents_alarm_gives_one_by_one(seed: int, at: float, nan: bool) -> None:
    schema, ids = feature_schema(), side(seed, episodes=2)
    p = said(ids, seed)
    if nan:
        p[::5] = np.nan
    spec = msgspec.structs.replace(fitted(schema, ids, said(ids, 1)), raise_at=round(max(at, 0.0), 3))
    heard = listen(ids, p, np.full(len(ids.y), -1), spec, PHASES, schema)
    (raised,) = raised_at(ids, heard.odds, np.array([spec.raise_at]), spec.clear_below)
    assert (raised == heard.raised).all()
