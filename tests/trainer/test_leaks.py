"""The leak check finds what encodes time, and says so where it explains the score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from contracts.events.payloads import Interval
from contracts.features.channels import Channel
from trainer.dataset.dataset import Dataset
from trainer.dataset.from_arrays import write_dataset
from trainer.dataset.samples import Samples
from trainer.evaluate.figures import Creeping
from trainer.evaluate.leaks import check, elapsed_s, warnings_of
from trainer.evaluate.resampled import Resampled
from trainer.fits.creeping import suspects, time_correlations
from trainer.split import Split, make_split, recipe_named

SECOND = 1_000_000_000
CHANNELS = tuple(
    Channel(name=name, source="proc", kind="given", unit="1") for name in ("honest", "clock", "noise", "rss")
)


def ordered(path: Path, honest: float) -> Dataset:
    """18 episodes on three hosts whose three classes follow one another. `honest` tells a class as loudly as it is
    told to; `clock` only counts windows; `rss` is called as the lab's creeping gauge is."""
    rng = np.random.default_rng(0)
    X, y, episode, centre = [], [], [], []
    for i in range(18):
        for window in range(30):
            label = min(2, window // 10)
            X.append(rng.normal(size=(4, 10)))
            X[-1][0] += honest * label
            X[-1][1] = window * 2 + 30 * (i % 2) + rng.normal(0, 0.5, 10)
            y.append(label)
            episode.append(f"e{i:02}")
            centre.append(1_700_000_000 * SECOND + window * 5 * SECOND)
    return write_dataset(
        path,
        np.array(X),
        None,
        np.array(y),
        episode_id=episode,
        host_id=[f"h{int(name[1:]) % 3}" for name in episode],
        channels=CHANNELS,
        classes=("one", "two", "three"),
        centre_ns=np.array(centre),
        step_ns=SECOND // 10,
    )


def split_of(dataset: Dataset) -> tuple[Split, Samples, Resampled]:
    split = make_split(dataset, recipe_named("held_out_host", 60))
    test = dataset.load_ids().of(split.test)
    return split, test, Resampled(test.episode_id, 0, 500)


def test_a_channel_that_counts_the_time_is_suspected_and_noise_is_not(tmp_path: Path) -> None:
    dataset = ordered(tmp_path / "set", 0.0)
    split, _, _ = split_of(dataset)
    found = suspects(dataset, split)
    assert found == {"proc.clock": "follows the time in the training episodes", "proc.rss": "creeps"}
    assert time_correlations(dataset, split)["proc.clock"] > 0.99


def test_elapsed_time_and_the_clock_alone_give_ordered_phases_away_and_the_report_says_so(tmp_path: Path) -> None:
    dataset = ordered(tmp_path / "set", 0.0)
    split, _, resampled = split_of(dataset)
    found = check(dataset, split, ("cnn-realistic", 0.8), resampled, 0)
    assert found.elapsed_time_alone.value > 0.95
    by_channel = {one.channel: one for one in found.creeping}
    assert by_channel["proc.clock"].alone.value > 0.6  # two starting points, so not as sure as the time itself
    assert by_channel["proc.rss"].alone.value < 0.5
    assert found.warnings[0].startswith("The time since the start alone reaches macro F1 ")
    assert "no less than the best model (cnn-realistic, 0.800)" in found.warnings[0]
    assert any(warning.startswith("proc.clock (follows the time") for warning in found.warnings[1:])


def test_the_check_of_a_large_set_keeps_every_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes of a single class each, alternating: every sixth of them would hold one class alone."""
    rng = np.random.default_rng(0)
    episode = np.repeat([f"e{i:02}" for i in range(36)], 20)
    y = np.repeat(np.arange(36) % 2, 20)
    made = write_dataset(
        tmp_path / "set",
        rng.normal(size=(720, 4, 10)) + y[:, None, None],
        None,
        y,
        episode_id=list(episode),
        host_id=[f"h{int(name[1:]) // 2 % 3}" for name in episode],
        channels=CHANNELS,
        classes=("one", "two"),
    )
    monkeypatch.setattr("trainer.evaluate.leaks.SAMPLE", 60)
    monkeypatch.setattr("trainer.fits.creeping.SAMPLE", 60)
    split, _, resampled = split_of(made)
    found = check(made, split, ("cnn-realistic", 0.8), resampled, 0)
    assert found.elapsed_time_alone.value < 0.8


def test_hosts_that_look_alike_are_not_told_apart(tmp_path: Path) -> None:
    dataset = ordered(tmp_path / "set", 0.0)
    split, _, resampled = split_of(dataset)
    found = check(dataset, split, ("cnn-realistic", 0.8), resampled, 0)
    assert found.hosts == 2
    assert found.host_macro_f1 is not None
    assert found.host_macro_f1 < 0.7


@pytest.mark.parametrize(
    ("elapsed", "alone", "expected"),
    [
        (Interval(value=0.5, low=0.4, high=0.6), 0.5, 0),
        (Interval(value=0.75, low=0.7, high=0.81), 0.5, 1),
        (Interval(value=0.81, low=0.7, high=0.9), 0.5, 1),
        (Interval(value=0.81, low=0.7, high=0.9), 0.65, 2),
    ],
)
def test_warnings_come_where_something_explains_the_score(elapsed: Interval, alone: float, expected: int) -> None:
    one = Creeping(channel="c", why="creeps", correlation=0.9, alone=Interval(value=alone, low=None, high=None))
    assert len(warnings_of(elapsed, [one], ("gbt", 0.8))) == expected


def test_elapsed_time_counts_from_each_episodes_first_window() -> None:
    ids = np.array(["b", "a", "b", "a"], object)
    centre = np.array([20, 7, 25, 10]) * SECOND
    empty = np.zeros(4, np.float32)
    test = Samples(np.empty((4, 0), np.float32), np.zeros(4, np.int64), (), empty, centre, ids, ids, ids, ids)
    assert elapsed_s(test).tolist() == [0, 0, 5, 3]
