"""Delays and false alarms of hand-made episodes, and the true positive rate against scikit-learn's curve."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from contracts.features.schema import SECOND, FeatureSchema
from contracts.vocabulary import PHASES
from trainer.dataset.samples import Samples
from trainer.evaluate.alarms import alarms as alarms_of
from trainer.evaluate.alarms import share
from trainer.evaluate.detection import detection, true_positive_rates
from trainer.evaluate.figures import Alarms
from trainer.evaluate.filtering import at_most, speaks_of_infection
from trainer.evaluate.listening import listen
from trainer.evaluate.resampled import Resampled

CLEAN, ARMED, INFECTING, RUNNING, DORMANT = range(5)
START = 1_700_000_000 * SECOND


def episode(name: str, truth: Sequence[int], onset_purity: float = 0.7) -> dict[str, list[object]]:
    """Windows every 5 s; the first infecting one reaches into its phase by a share of its length."""
    purity = [1.0] * len(truth)
    if INFECTING in truth:
        purity[list(truth).index(INFECTING)] = onset_purity
    return {
        "y": list(truth),
        "purity": list(purity),
        "centre": [START + 5 * SECOND * i for i in range(len(truth))],
        "episode": [name] * len(truth),
    }


def together(*episodes: dict[str, list[object]]) -> Samples:
    y, purity, centre, names = ([v for one in episodes for v in one[k]] for k in ("y", "purity", "centre", "episode"))
    ids = np.array(names, object)
    return Samples(
        np.empty((len(y), 0), np.float32),
        np.array(y, np.int64),
        (),
        np.array(purity, np.float32),
        np.array(centre, np.int64),
        *(ids,) * 4,
    )


def alarms(
    test: Samples, decided: NDArray[np.int64], classes: tuple[str, ...], schema: FeatureSchema, resampled: Resampled
) -> Alarms:
    """By the old rule, which goes by decisions alone."""
    nothing = np.full((len(decided), len(classes)), 1 / len(classes), np.float32)
    heard = listen(test, nothing, decided, None, classes, schema)
    return alarms_of(test, heard.raised, classes, schema, resampled)


def test_delay_runs_from_the_onset_within_a_window_to_the_settled_end_of_the_second_one(schema: FeatureSchema) -> None:
    """Onset 7 s before the end of window 3; windows 4 and 5 are decided infected; the alarm comes 3 s after 5's end."""
    test = together(episode("a", [CLEAN] * 3 + [INFECTING] * 3 + [RUNNING] * 3))
    decided = np.array([CLEAN] * 4 + [INFECTING] * 2 + [RUNNING] * 3)
    found = alarms(test, decided, PHASES, schema, Resampled(test.episode_id, 0, 100))
    assert (found.onsets, found.missed, found.false_alarms) == (1, 0, 0)
    assert found.delays_s == [pytest.approx(7 + 2 * 5 + 3)]
    assert found.clean_hours == pytest.approx(3 * 5 / 3600)


def test_an_alarm_that_is_on_at_the_onset_has_no_delay_and_counts_as_false_in_clean(schema: FeatureSchema) -> None:
    test = together(episode("a", [CLEAN] * 4 + [INFECTING] * 4))
    decided = np.array([CLEAN, RUNNING, RUNNING, RUNNING] + [RUNNING] * 4)
    found = alarms(test, decided, PHASES, schema, Resampled(test.episode_id, 0, 100))
    assert (found.false_alarms, found.delays_s) == (1, [0])


def test_an_alarm_raised_while_armed_is_early_and_not_false(schema: FeatureSchema) -> None:
    test = together(episode("a", [CLEAN] * 3 + [ARMED] * 3 + [INFECTING] * 4))
    decided = np.array([CLEAN] * 3 + [INFECTING] * 7)
    found = alarms(test, decided, PHASES, schema, Resampled(test.episode_id, 0, 100))
    assert (found.false_alarms, found.delays_s) == (0, [0])


def test_an_alarm_after_the_infection_is_over_is_false_and_finds_nothing(schema: FeatureSchema) -> None:
    test = together(episode("a", [CLEAN] * 3 + [INFECTING] * 3 + [CLEAN] * 10))
    decided = np.array([CLEAN] * 12 + [RUNNING] * 4)
    found = alarms(test, decided, PHASES, schema, Resampled(test.episode_id, 0, 10))
    assert (found.onsets, found.missed, found.false_alarms) == (1, 1, 1)


def test_clean_time_goes_by_the_windows_own_stride(schema: FeatureSchema) -> None:
    test = together(episode("a", [CLEAN] * 9))
    wide = msgspec.structs.replace(schema, stride_ns=schema.window_ns)  # as arrays from elsewhere have it
    found = alarms(test, np.zeros(9, np.int64), PHASES, wide, Resampled(test.episode_id, 0, 10))
    assert found.clean_hours == pytest.approx(9 * 5 / 3600)


def test_rates_hold_where_the_highest_clean_scores_are_of_few_episodes() -> None:
    """Resamples that miss the noisy episodes have a much lower threshold."""
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(13), 200)
    negative = np.tile(np.repeat([True, False], 100), 13)
    noisy = (cluster < 2) & negative
    score = np.where(
        negative, np.where(noisy, rng.normal(3, 0.2, 2600), rng.normal(0, 0.3, 2600)), rng.normal(1, 0.5, 2600)
    )
    draws = rng.multinomial(13, np.full(13, 1 / 13), 60).astype(float)
    found = true_positive_rates(score, ~negative, negative, cluster, draws)
    for counts, rate in zip(draws, found, strict=True):
        rows = np.concatenate([np.flatnonzero(cluster == e) for e in range(13) for _ in range(int(counts[e]))])
        fpr, tpr, _ = roc_curve(~negative[rows], score[rows], drop_intermediate=False)
        assert abs(rate - tpr[fpr <= 0.01].max()) < 0.01  # 1,000 thresholds of 1,300


def test_missed_onsets_are_counted_and_make_the_median_endless(schema: FeatureSchema) -> None:
    truth = [CLEAN] * 3 + [INFECTING] * 5
    test = together(*(episode(name, truth) for name in "abc"))
    seen, blind = [CLEAN] * 3 + [INFECTING] * 5, [CLEAN] * 8
    resampled = Resampled(test.episode_id, 0, 500)
    found = alarms(test, np.array(seen + seen + blind), PHASES, schema, resampled)
    assert (found.onsets, found.missed, len(found.delays_s)) == (3, 1, 2)
    assert found.median_delay_s is not None
    assert found.median_delay_s.high is None  # most resamples of two misses have no median
    found = alarms(test, np.array(seen + blind + blind), PHASES, schema, resampled)
    assert (found.missed, found.median_delay_s) == (2, None)


def test_abstained_windows_neither_raise_nor_clear(schema: FeatureSchema) -> None:
    test = together(episode("a", [CLEAN] * 2 + [INFECTING] * 6))
    undecided = np.array([CLEAN, CLEAN, INFECTING, -1, -1, INFECTING, INFECTING, INFECTING])
    found = alarms(test, undecided, PHASES, schema, Resampled(test.episode_id, 0, 10))
    assert found.delays_s == [pytest.approx(7 + 3 * 5 + 3)]


def test_median_of_resamples_equals_the_naive_one(schema: FeatureSchema) -> None:
    rng = np.random.default_rng(0)
    episodes, decided = [], []
    for i in range(9):
        late = int(rng.integers(0, 4))
        episodes.append(episode(f"e{i}", [CLEAN] * 3 + [INFECTING] * 8, 0.5 + 0.05 * i))
        decided += [CLEAN] * (3 + late) + [INFECTING] * (8 - late)
    test = together(*episodes)
    resampled = Resampled(test.episode_id, 1, 300)
    found = alarms(test, np.array(decided), PHASES, schema, resampled)

    def alone_of(i: int) -> float:
        one = together(episodes[i])
        mine = np.array(decided[11 * i : 11 * i + 11])
        return alarms(one, mine, PHASES, schema, Resampled(one.episode_id, 0, 2)).delays_s[0]

    alone = [alone_of(i) for i in range(9)]
    naive = [np.median(np.repeat(alone, counts.astype(int))) for counts in resampled.draws]
    assert found.median_delay_s is not None
    assert found.median_delay_s.value == pytest.approx(np.median(alone))
    low, high = np.percentile(naive, [2.5, 97.5])
    assert found.median_delay_s.low == pytest.approx(low)
    assert found.median_delay_s.high == pytest.approx(high)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 20, 1000]))
def test_true_positive_rate_equals_scikit_learns(seed: int, levels: int) -> None:
    """With ties, and with 1 % of the negatives being no whole number."""
    rng = np.random.default_rng(seed)
    negative = rng.random(400) < 0.6
    score = np.round(rng.random(400) * levels) / levels - 0.3 * negative
    fpr, tpr, _ = roc_curve(~negative, score, drop_intermediate=False)
    rate = true_positive_rates(score, ~negative, negative, np.zeros(400, np.int64), np.ones((1, 1)))
    assert np.isclose(rate[0], tpr[fpr <= 0.01].max())


def test_true_positive_rates_of_resamples_equal_the_naive_ones() -> None:
    rng = np.random.default_rng(4)
    negative, cluster = rng.random(600) < 0.5, np.sort(rng.integers(0, 6, 600))
    score = rng.normal(size=600) - 1.5 * negative
    draws = rng.integers(0, 3, (40, 6)).astype(float)
    draws[0] = 0
    found = true_positive_rates(score, ~negative, negative, cluster, draws)
    assert np.isnan(found[0])
    for counts, rate in zip(draws[1:], found[1:], strict=True):
        rows = np.concatenate([np.flatnonzero(cluster == e) for e in range(6) for _ in range(int(counts[e]))])
        fpr, tpr, _ = roc_curve(~negative[rows], score[rows], drop_intermediate=False)
        assert np.isclose(rate, tpr[fpr <= 0.01].max())


def test_detection_needs_both_kinds_of_window() -> None:
    test = together(episode("a", [CLEAN] * 4 + [INFECTING] * 4), episode("b", [CLEAN] * 4 + [RUNNING] * 4))
    p = np.full((16, 5), 0.05, np.float32)
    p[np.arange(16), test.y] = 0.8
    found = detection(test, p, PHASES, Resampled(test.episode_id, 0, 100))
    assert found is not None
    assert (found.infected, found.clean, found.true_positive_rate.value) == (8, 8, 1.0)
    quiet = together(episode("a", [CLEAN] * 4), episode("b", [ARMED] * 4))
    assert detection(quiet, p[:8], PHASES, Resampled(quiet.episode_id, 0, 100)) is None


def test_alarms_are_for_classes_that_speak_of_infection() -> None:
    assert speaks_of_infection(PHASES)
    assert not speaks_of_infection(("walking", "sitting"))


def test_a_share_and_a_rate_have_the_textbooks_exact_bounds() -> None:
    """Three in n where none was seen (1 - 0.05**(1/n) exactly for shares); Clopper and Pearson's for 9 of 10."""
    assert at_most(0, 1.0) == pytest.approx(-np.log(0.05))
    assert at_most(1, 2.0) == pytest.approx(4.743865 / 2, rel=1e-5)
    nine = share(9, 10)
    assert nine is not None
    assert [nine.low, nine.high] == pytest.approx([0.554984, 0.997471], rel=1e-4)
    whole = share(5, 5)
    assert whole is not None
    assert (whole.value, whole.high) == (1.0, 1.0)
    assert whole.low == pytest.approx(0.025 ** (1 / 5))
    assert share(0, 0) is None


def test_false_alarms_have_a_bound_though_none_was_seen(schema: FeatureSchema) -> None:
    """The bootstrap's interval is empty there; the bound is not."""
    test = together(episode("a", [CLEAN] * 360), episode("b", [CLEAN] * 360))
    found = alarms(test, np.zeros(720, np.int64), PHASES, schema, Resampled(test.episode_id, 0, 10))
    assert (found.false_alarms, found.found, found.median_delay_s) == (0, None, None)
    assert found.false_alarms_per_day is not None
    assert found.false_alarms_per_day.value == 0
    assert found.at_most_per_day == pytest.approx(24 * 2.995732, rel=1e-5)  # in the one hour that was watched
    assert found.per_profile["a"].clean_hours == pytest.approx(0.5)
