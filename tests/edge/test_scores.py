"""Scores against scikit-learn and a ten-line bootstrap."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from edge.scores import bootstrap, confusions, interval, macro_f1, per_class_f1

labels = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


@settings(max_examples=200, deadline=None)
@given(labels)
def test_f1_equals_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    truth, decided = np.array(pairs).T
    (confusion,) = confusions(truth, decided, np.zeros(len(truth), int), 5)
    seen = sorted(set(truth) | set(decided))
    assert np.isclose(macro_f1(confusion), f1_score(truth, decided, average="macro"))
    np.testing.assert_allclose(per_class_f1(confusion)[seen], f1_score(truth, decided, average=None, labels=seen))
    assert np.isnan(np.delete(per_class_f1(confusion), seen)).all()


def test_bootstrap_equals_the_naive_one() -> None:
    rng = np.random.default_rng(3)
    truth, episode = rng.integers(0, 5, 400), np.sort(rng.integers(0, 9, 400))
    decided = np.where(rng.random(400) < 0.7, truth, rng.integers(0, 5, 400))
    fast = bootstrap(confusions(truth, decided, episode, 5), seed=7, replicates=50)
    naive = []
    for counts in np.random.default_rng(7).multinomial(9, np.full(9, 1 / 9), size=50):
        rows = np.concatenate([np.flatnonzero(episode == e) for e in range(9) for _ in range(counts[e])])
        naive.append(f1_score(truth[rows], decided[rows], average="macro"))
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
