"""Scores against scikit-learn and a ten-line bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from contracts.vocabulary import PHASES
from edge.scores import (
    agreement,
    bootstrap,
    by_class,
    calibrated,
    choice,
    choices,
    confusions,
    draws,
    interval,
    macro_f1,
    macro_f1_of,
    per_class_f1,
    seen,
    seen_part,
    untested,
)

labels = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(labels)
def test_f1_equals_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    truth, decided = np.array(pairs).T
    (confusion,) = confusions(truth, decided, np.zeros(len(truth), int), 5)
    tested = sorted(set(truth))
    assert np.isclose(macro_f1(confusion), f1_score(truth, decided, average="macro", labels=tested))
    np.testing.assert_allclose(per_class_f1(confusion)[tested], f1_score(truth, decided, average=None, labels=tested))
    assert np.isnan(np.delete(per_class_f1(confusion), tested)).all()
    assert list(by_class(confusion, PHASES)) == [PHASES[i] for i in tested]
    assert untested(confusion, PHASES) == [phase for i, phase in enumerate(PHASES) if i not in tested]
    assert seen(confusion, PHASES) == [PHASES[i] for i in sorted(set(truth) | set(decided))]
    assert np.sum(seen_part(confusion)) == len(truth)


def test_a_class_without_truth_is_in_no_average_though_it_was_decided() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    decided = np.array([0, 0, 0, 4, 1, 1, 1, 4])
    (confusion,) = confusions(truth, decided, np.zeros(8, int), 5)
    assert np.isclose(macro_f1(confusion), 6 / 7)
    assert untested(confusion, PHASES) == ["infecting", "infected_running", "dormant"]
    assert seen(confusion, PHASES) == ["clean", "armed", "dormant"]
    assert seen_part(confusion) == [[3, 0, 1], [0, 3, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("said", "chosen"), [([0.2, 0.8], 1), ([np.nan, 0.8], None), ([np.nan, np.nan], None), ([np.inf, 0.0], None)]
)
def test_what_is_no_number_is_no_choice(said: list[float], chosen: int | None) -> None:
    assert choice(np.array(said, np.float32)) == chosen


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.3, 0.7, np.nan, np.inf, -np.inf]), min_size=3, max_size=3), max_size=8)
)
def test_choices_are_each_windows_choice(rows: list[list[float]]) -> None:
    said = np.array(rows, np.float32).reshape(-1, 3)
    assert choices(said).tolist() == [-1 if (one := choice(row)) is None else one for row in said]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 4)), max_size=60))
def test_a_window_without_a_choice_is_in_no_confusion(pairs: list[tuple[int, int]]) -> None:
    truth, decided = np.array(pairs, np.int64).reshape(-1, 2).T
    chosen = decided >= 0
    cluster = np.arange(len(truth)) % 3
    found = confusions(truth, decided, cluster, 5)
    assert len(found) == (cluster.max() + 1 if len(cluster) else 0)  # an episode without a choice keeps its place
    assert found.sum() == chosen.sum()
    tested = sorted(set(truth[chosen]))
    expected = f1_score(truth[chosen], decided[chosen], average="macro", labels=tested) if tested else 0.0
    assert np.isclose(macro_f1_of(truth, decided, 5), expected)


def test_what_gives_no_numbers_does_not_decide_like_what_does() -> None:
    said = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    silent = said.copy()
    silent[0] = [np.nan, 0.1]
    assert agreement(said, said) == 1.0
    assert agreement(said, silent) == 0.5


def test_bootstrap_equals_the_naive_one() -> None:
    rng = np.random.default_rng(3)
    truth, episode = rng.integers(0, 5, 400), np.sort(rng.integers(0, 9, 400))
    decided = np.where(rng.random(400) < 0.7, truth, rng.integers(0, 5, 400))
    fast = bootstrap(confusions(truth, decided, episode, 5), seed=7, replicates=50)
    naive = []
    for counts in draws(9, seed=7, replicates=50).astype(int):
        rows = np.concatenate([np.flatnonzero(episode == e) for e in range(9) for _ in range(counts[e])])
        tested = sorted(set(truth[rows]))
        naive.append(f1_score(truth[rows], decided[rows], average="macro", labels=tested))
    np.testing.assert_allclose(fast, naive)


def test_bootstrap_pairs_models_on_the_same_resamples() -> None:
    rng = np.random.default_rng(0)
    one = rng.integers(0, 20, (6, 5, 5))
    together = bootstrap(np.stack([one, one]), seed=1)
    np.testing.assert_array_equal(together[0], together[1])
    np.testing.assert_array_equal(together[0], bootstrap(one, seed=1))


def test_interval_by_episodes_is_wider_than_by_windows_when_episodes_differ() -> None:
    """Ten episodes, all right or all wrong: windows are no independent evidence."""
    truth = np.tile(np.arange(5), 200)
    episode = np.repeat(np.arange(10), 100)
    decided = np.where(episode < 7, truth, (truth + 1) % 5)
    low, high = interval(bootstrap(confusions(truth, decided, episode, 5), seed=0))
    low_w, high_w = interval(bootstrap(confusions(truth, decided, np.arange(1000), 5), seed=0))
    assert high - low > 4 * (high_w - low_w)


def test_draws_take_as_many_episodes_as_there_are_and_depend_on_the_seed_alone() -> None:
    found = draws(7, seed=1, replicates=5000)
    assert found.shape == (5000, 7)
    assert (found.sum(axis=1) == 7).all()
    np.testing.assert_array_equal(found, draws(7, seed=1, replicates=5000))
    # each is drawn once on average, and as often as a binomial says
    np.testing.assert_allclose(found.mean(axis=0), 1, atol=0.06)
    np.testing.assert_allclose(found.var(axis=0), 6 / 7, atol=0.1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.floats(0.1, 10))
def test_calibrated_divides_the_logits_and_keeps_the_decision(logits: list[float], temperature: float) -> None:
    def softmax(z: NDArray[np.float64]) -> NDArray[np.float64]:
        e = np.exp(z - z.max())
        return np.asarray(e / e.sum())

    z = np.array(logits)
    found = calibrated(softmax(z).astype(np.float32)[None], temperature)[0]
    np.testing.assert_allclose(found, softmax(z / temperature), atol=1e-4)
    assert found.argmax() == z.argmax() or np.isclose(np.sort(z)[-1], np.sort(z)[-2], atol=1e-3)


def test_calibrated_keeps_zeros_and_what_is_no_number() -> None:
    np.testing.assert_array_equal(calibrated(np.array([[1, 0, 0]], np.float32), 3.0), [[1, 0, 0]])
    assert np.isnan(calibrated(np.array([[np.nan, 0.5]], np.float32), 3.0)).all()
