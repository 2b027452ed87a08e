"""A model that gives no numbers, and classes that are not there: nothing is scored that was not chosen."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from contracts.bundle.keys import load_trusted_keys
from contracts.errors import BundleError
from contracts.events.envelope import make_event
from contracts.events.payloads import MetricsData
from contracts.features.schema import FeatureSchema
from contracts.telemetry.episode import Episode
from contracts.vocabulary import PHASES
from edge.deliver.outbox import opened
from edge.feeds.replay import replay, subject_of
from edge.model.models import Fixed
from edge.model.opened import Active, _scorecard, activate
from edge.runtimes import Runtime
from edge.watch.agent import Agent
from edge.watch.health import Health
from edge.watch.score_events import RunningScores, scorecard_events
from tests.bundles import make_bundle
from trainer.demo.screen import Screen

Found = list[tuple[str, dict[str, Any]]]


class Answers:
    """A runtime that now and then gives what is no number."""

    def __init__(self, active: Active, every: int, which: list[int]) -> None:
        self._runtime, self._every, self._which, self._count = active.runtime, every, which, 0
        self.name = active.runtime.name

    def predict(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        said = self._runtime.predict(window)
        self._count += 1
        if self._count % self._every == 0:
            said[self._which] = np.nan
        return said


def answering(active: Active, every: int, which: list[int]) -> Runtime:
    """All of a runtime that a detector asks for."""
    return cast(Runtime, Answers(active, every, which))


@pytest.fixture
def active(tmp_path: Path, schema: FeatureSchema, signing_key: Path) -> Active:
    bundle = make_bundle(tmp_path, schema, signing_key)
    return activate(bundle, schema, load_trusted_keys(signing_key.parent))


def shown(data: MetricsData) -> str:
    file = io.StringIO()
    event = make_event(data, node="n", guest="g", t_wall_ns=0, schema_hash="0" * 64)
    Screen(Console(file=file, width=200)).show("metrics", event)
    return file.getvalue()


def said(active: Active, schema: FeatureSchema, episode: Episode, outbox: Path) -> Found:
    with opened(outbox) as box:
        replay(Agent(Fixed(active), schema, node="n", outbox=box, health=Health()), episode, schema, None)
        messages = box.pending(10_000)
    return [(m.topic.rpartition("/")[2], json.loads(m.payload)["data"]) for m in messages]


@pytest.mark.parametrize("which", [list(range(5)), [0]], ids=["all of them", "one of them"])
def test_a_window_without_numbers_is_undecided_and_in_no_score(
    active: Active, schema: FeatureSchema, episode: Episode, tmp_path: Path, which: list[int]
) -> None:
    plain = said(active, schema, episode, tmp_path / "a")
    odd = said(dataclasses.replace(active, runtime=answering(active, 4, which)), schema, episode, tmp_path / "b")
    windows = [data for kind, data in odd if kind == "window"]
    lost = [window for i, window in enumerate(windows) if i % 4 == 3]
    assert len(lost) > 4
    for window in lost:
        assert window["decided"] is None
        assert set(window["probabilities"].values()) == {0.0}
    (score,) = [data for kind, data in odd if kind == "metrics" and data["basis"] == "running"]
    assert (score["windows"], score["undecided"]) == (len(windows) - len(lost), len(lost))
    (matrix,) = [data["matrix"] for kind, data in odd if kind == "confusion" and data["basis"] == "running"]
    assert np.sum(matrix) == score["windows"]
    (before,) = [data for kind, data in plain if kind == "metrics" and data["basis"] == "running"]
    assert before["undecided"] == 0


def test_a_model_that_never_gives_numbers_has_no_score(
    active: Active, schema: FeatureSchema, episode: Episode, tmp_path: Path
) -> None:
    found = said(dataclasses.replace(active, runtime=answering(active, 1, [2])), schema, episode, tmp_path / "b")
    assert not [data for kind, data in found if kind == "metrics" and data["basis"] == "running"]
    assert {data["decided"] for kind, data in found if kind == "window"} == {None}


def test_an_episode_without_numbers_is_counted_beside_the_scores_of_others(active: Active, episode: Episode) -> None:
    running, subject = RunningScores(active), subject_of(episode)
    other = dataclasses.replace(subject, episode_id="another")
    assert running.add(subject, [(0, 0), (1, 1)])
    assert running.add(other, [(0, None)] * 3)
    score = next(iter(running.events(None)))
    assert isinstance(score, MetricsData)
    assert (score.episodes, score.windows, score.undecided) == (1, 2, 3)


def test_an_episode_watched_again_without_numbers_loses_its_score(active: Active, episode: Episode) -> None:
    running, subject = RunningScores(active), subject_of(episode)
    other = dataclasses.replace(subject, episode_id="another")
    assert running.add(subject, [(0, 0), (1, 1)])
    assert running.add(other, [(0, 1)])
    assert running.add(subject, [(0, None)])
    score = next(iter(running.events(None)))
    assert isinstance(score, MetricsData)
    assert (score.episodes, score.windows, score.undecided) == (1, 1, 1)
    assert score.macro_f1.value == 0


def test_running_scores_name_the_classes_that_had_no_truth(
    active: Active, schema: FeatureSchema, episode: Episode, tmp_path: Path
) -> None:
    labels = [label for label in episode.labels if label.phase in ("clean", "armed")]
    found = said(active, schema, msgspec.structs.replace(episode, labels=labels), tmp_path / "b")
    (score,) = [data for kind, data in found if kind == "metrics" and data["basis"] == "running"]
    assert score["untested_classes"] == ["infecting", "infected_running", "dormant"]
    assert score["per_class"].keys() == {"clean", "armed"}
    assert np.isclose(score["macro_f1"]["value"], np.mean(list(score["per_class"].values())))


@pytest.mark.parametrize(
    "change",
    [
        {"per_class": dict.fromkeys(PHASES[:4], 0.5)},
        {"untested_classes": ("dormant",)},
        {"labels": PHASES[:4]},
        {"confusion": ((1,) * 5,) * 4},
        {"per_class": dict.fromkeys(PHASES[:4], 0.5), "untested_classes": ("sleeping",)},
    ],
)
def test_a_scorecard_must_account_for_every_class(active: Active, change: dict[str, Any]) -> None:
    card = msgspec.structs.replace(active.scorecard, **change)
    members = {"scorecard.json": msgspec.json.encode(card)}
    with pytest.raises(BundleError, match=r"scorecard\.json: scores of .*; expected of the phases clean, armed, "):
        _scorecard(msgspec.structs.replace(active.bundle, members=members))


def test_a_scorecard_may_lack_a_class_that_it_names_as_untested(active: Active) -> None:
    card = msgspec.structs.replace(
        active.scorecard,
        per_class=dict.fromkeys(PHASES[:4], 0.5), untested_classes=("dormant",), labels=PHASES[:4],
        confusion=((1,) * 4,) * 4,
    )  # fmt: skip
    members = {"scorecard.json": msgspec.json.encode(card)}
    assert _scorecard(msgspec.structs.replace(active.bundle, members=members)) == card


def test_the_demo_names_classes_that_were_never_tested_and_windows_without_numbers(active: Active) -> None:
    card, *_ = scorecard_events(active)
    assert isinstance(card, MetricsData)
    assert "untested" not in shown(card)
    text = shown(msgspec.structs.replace(card, untested_classes=["dormant"], undecided=3))
    assert "untested classes: dormant" in text
    assert "3 windows without numbers, in no score" in text
