"""The population stability index, against a plain reference, and what it says of honest and of changed data."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from contracts.bundle.scorecard import Bins, Reference
from edge.watch.drift import ENOUGH, KEPT, Drift
from trainer.compile.reference import BINS, _bins


def drift_of(learned: NDArray[np.float64], channel: str = "c") -> Drift:
    return Drift(Reference(mean=(0.0,), std=(1.0,), importance=(0.1,), bins=(_bins(learned),)), (channel,))


def naive(bins: Bins, seen: list[float]) -> float:
    """Bin by bin, as the definition says it."""
    counts = [0] * len(bins.shares)
    for value in seen:
        counts[sum(edge < value for edge in bins.edges)] += 1
    total = 0.0
    for count, share in zip(counts, bins.shares, strict=True):
        a, b = max(count / len(seen), 1e-3), max(share, 1e-3)
        total += (a - b) * math.log(a / b)
    return round(total, 4)


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.float64, st.integers(20, 300), elements=st.sampled_from([0.0, 0.0, 1.0, 2.5, 7.0, -3.0, 1e9])),
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.5, 8.0, -9.0, 1e12]), min_size=ENOUGH, max_size=200),
)
def test_the_index_is_what_its_definition_says(learned: NDArray[np.float64], seen: list[float]) -> None:
    drift = drift_of(learned)
    for value in seen:
        drift.add(np.array([value]))
    assert drift.index() == {"c": pytest.approx(naive(_bins(learned), seen), abs=1e-4)}


def test_what_is_like_the_training_side_is_near_zero_and_what_is_not_is_far() -> None:
    random = np.random.default_rng(0)
    learned = np.where(random.random(5000) < 0.5, 0.0, random.exponential(1, 5000))  # a channel that is often quiet
    same, other = drift_of(learned), drift_of(learned)
    for value in random.choice(learned, KEPT):
        same.add(np.array([value]))
        other.add(np.array([value + 3]))
    assert same.index()["c"] < 0.05
    assert other.index()["c"] > 1


def test_nothing_is_said_before_enough_was_seen_nor_of_what_was_not_observed() -> None:
    drift = drift_of(np.arange(100.0))
    for _ in range(ENOUGH - 1):
        drift.add(np.array([5.0]))
        drift.add(np.array([np.nan]))
    assert drift.index() == {}
    drift.add(np.array([5.0]))
    assert drift.index().keys() == {"c"}


def test_only_the_last_hour_counts() -> None:
    drift = drift_of(np.arange(100.0))
    for _ in range(KEPT):
        drift.add(np.array([1e9]))
    far = drift.index()["c"]
    for i in range(KEPT):
        drift.add(np.array([float(i % 100)]))
    assert drift.index()["c"] < 0.05 < far


def test_a_bundle_without_bins_says_nothing() -> None:
    drift = Drift(Reference(mean=(0.0,), std=(1.0,), importance=(0.1,)), ("c",))
    for _ in range(ENOUGH):
        drift.add(np.array([5.0]))
    assert drift.index() == {}


@settings(max_examples=50, deadline=None)
@given(arrays(np.float64, st.integers(0, 200), elements=st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")))))
def test_bins_of_any_training_side_are_whole(levels: NDArray[np.float64]) -> None:
    bins = _bins(levels)
    assert len(bins.shares) == len(bins.edges) + 1 <= BINS
    assert sum(bins.shares) == pytest.approx(1, abs=1e-4)
    assert list(bins.edges) == sorted(set(bins.edges))
    assert msgspec.json.decode(msgspec.json.encode(bins), type=Bins) == bins
