"""Intervals, comparisons and breakdowns against naive loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from edge import scores
from trainer.dataset.samples import Samples
from trainer.evaluate.breakdown import by_group, by_purity, per_class
from trainer.evaluate.paired import Duels, holm, two_sided
from trainer.evaluate.resampled import Resampled

CLASSES = ("a", "b", "c")


def samples(windows: int = 300, episodes: int = 12, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    episode = np.sort(rng.integers(0, episodes, windows))
    names = np.array([f"e{i:02}" for i in range(episodes)], object)
    return Samples(
        np.empty((windows, 0), np.float32),
        rng.integers(0, 3, windows),
        (),
        rng.choice([1.0, 0.8, 0.6, 0.3], windows).astype(np.float32),
        np.arange(windows) * 5_000_000_000,
        names[episode],
        np.array([f"h{i % 3}" for i in range(episodes)], object)[episode],
        np.array([f"p{i % 4}" for i in range(episodes)], object)[episode],
        names[episode],
    )


def guesses(test: Samples, right: float, seed: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(test.y)) < right, test.y, rng.integers(0, 3, len(test.y)))


def test_interval_equals_the_naive_bootstraps() -> None:
    """Ten lines: draw episodes, gather their windows, ask scikit-learn."""
    test = samples()
    decided = guesses(test, 0.7, 1)
    resampled = Resampled(test.episode_id, 5, 200)
    naive = []
    for counts in scores.draws(12, seed=5, replicates=200).astype(int):
        rows = np.concatenate(
            [np.flatnonzero(test.episode_id == f"e{e:02}") for e in range(12) for _ in range(counts[e])]
        )
        naive.append(f1_score(test.y[rows], decided[rows], average="macro"))
    found = resampled.macro_f1(test.y, decided, 3)
    assert np.isclose(found.value, f1_score(test.y, decided, average="macro"))
    low, high = np.percentile(naive, [2.5, 97.5])
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(high)


def test_per_class_equals_scikit_learns() -> None:
    test = samples()
    decided = guesses(test, 0.6, 2)
    resampled = Resampled(test.episode_id, 0, 500)
    found = per_class(resampled.confusions(test.y, decided, 3), CLASSES, resampled)
    np.testing.assert_allclose([found[name].value for name in CLASSES], f1_score(test.y, decided, average=None))
    assert all(one.low < one.value < one.high for one in found.values() if one.low is not None and one.high is not None)


def test_groups_are_scored_apart_and_cover_all_windows() -> None:
    test = samples()
    decided = guesses(test, 0.6, 2)
    resampled = Resampled(test.episode_id, 0, 500)
    for column in (test.host_id, test.profile):
        found = by_group(column, test, decided, 3, resampled)
        assert sum(group.windows for group in found.values()) == len(test.y)
        for name, group in found.items():
            at = column == name
            assert np.isclose(group.macro_f1.value, f1_score(test.y[at], decided[at], average="macro"))
    purities = by_purity(test, decided, 3, resampled)
    assert list(purities) == ["one phase", "3/4 or more", "1/2 to 3/4", "less than 1/2"]
    assert sum(group.windows for group in purities.values()) == len(test.y)


def test_a_group_of_one_episode_has_no_interval() -> None:
    test = samples()
    found = by_group(test.sample_name, test, guesses(test, 0.6, 2), 3, Resampled(test.episode_id, 0, 100))
    assert all(group.episodes == 1 and group.macro_f1.low is None for group in found.values())


def test_one_episode_alone_has_no_interval_and_no_p() -> None:
    test = samples(episodes=1)
    resampled = Resampled(test.episode_id, 0, 100)
    one, two = (resampled.confusions(test.y, guesses(test, right, 3), 3) for right in (0.9, 0.5))
    (pair,) = Duels({"one": one, "two": two}, resampled).pairs()
    assert (pair.difference.low, pair.p, pair.p_holm) == (None, None, None)


def test_pairs_are_all_pairs_and_their_differences_are_paired() -> None:
    test = samples(1200, 40)
    resampled = Resampled(test.episode_id, 0, 2000)
    confusions = {
        f"{name}-{view}": resampled.confusions(test.y, guesses(test, right, i), 3)
        for i, (name, view, right) in enumerate(
            (("good", "oracle", 0.9), ("good", "realistic", 0.8), ("poor", "oracle", 0.5), ("poor", "realistic", 0.5))
        )
    }
    duels = Duels(confusions, resampled)
    pairs = duels.pairs()
    assert {frozenset((p.one, p.other)) for p in pairs} == set(map(frozenset, itertools.combinations(confusions, 2)))
    for pair in pairs:
        assert pair.difference.value >= 0  # the better one first
        assert pair.p is not None
        assert pair.p_holm is not None
        assert pair.p <= pair.p_holm <= 1
    by_names = {frozenset((p.one, p.other)): p for p in pairs}
    assert (by_names[frozenset(("good-oracle", "poor-oracle"))].p_holm or 1) < 0.05
    assert (by_names[frozenset(("poor-oracle", "poor-realistic"))].p_holm or 0) > 0.05
    gaps = {gap.architecture: gap.difference for gap in duels.gaps()}
    assert gaps.keys() == {"good", "poor"}
    assert np.isclose(gaps["good"].value, duels.value["good-oracle"] - duels.value["good-realistic"])
    against = duels.against_best("poor-oracle")
    assert against is not None
    assert against.against == "good-oracle"
    # the same model against itself differs nowhere: that is what sharing the resamples means
    same = Duels({"x": confusions["good-oracle"], "y": confusions["good-oracle"]}, resampled).pair("x", "y")
    assert (same.difference.low, same.difference.high, same.p) == (0, 0, 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_the_textbooks_procedure(p: list[float]) -> None:
    """Step down: reject while p_(i) <= level / (m - i); the adjusted p is the least level that rejects."""
    adjusted = holm(p)
    order = sorted(range(len(p)), key=lambda i: p[i])
    for level in (0.01, 0.05, 0.2, 0.7):
        rejected = set()
        for rank, i in enumerate(order):
            if p[i] * (len(p) - rank) > level:
                break
            rejected.add(i)
        assert rejected == {i for i in range(len(p)) if adjusted[i] <= level}


def test_two_sided_p_is_never_zero_and_one_for_no_difference() -> None:
    assert two_sided(np.zeros(999)) == 1
    assert two_sided(np.ones(999)) == pytest.approx(2 / 1000)
    assert two_sided(np.r_[np.ones(900), -np.ones(99)]) == pytest.approx(2 * 100 / 1000)


def test_very_large_test_sides_get_fewer_resamples() -> None:
    names = np.array([f"{i:06}" for i in range(60_000)], object)
    assert len(Resampled(names[:100], 0).draws) == 10_000
    assert len(Resampled(names, 0).draws) == 8_333
