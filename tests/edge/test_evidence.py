"""When an alarm rises, what was seen around it is kept: named by the window, bounded, and an episode like any other."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from contracts.features.schema import SECOND
from contracts.telemetry.episode import Episode, read_episode
from edge.record.bounded import Bounded, Bounds
from edge.record.evidence import KIND, EvidenceKeeper
from edge.watch.evidence import AFTER_NS, BEFORE_NS, Evidence
from tests.edge.test_recordings import START, SUBJECT, feed, parts_of


def test_an_alarm_keeps_the_minutes_before_and_after_it(tmp_path: Path, episode: Episode) -> None:
    bounded = Bounded(tmp_path, KIND, Bounds(bytes=1 << 30, count=2))
    keeper = EvidenceKeeper(bounded, SUBJECT, {}, "phasewatch edge test")
    before, after = BEFORE_NS // SECOND, AFTER_NS // SECOND
    feed(keeper, episode, 150)
    at = START + 750 * SECOND
    keeper.alarm("g-alarm-1", at)
    feed(keeper, episode, after // 5 + 5, first=150)
    found = read_episode(tmp_path / "h" / "g-alarm-1", allow_missing=True)
    assert found.manifest.started_wall_ns == at - before * SECOND
    assert abs(found.manifest.ended_wall_ns - at - after * SECOND) <= 5 * SECOND
    assert len(found.rows["proc"]) == pytest.approx(10 * (before + after), abs=100)
    assert found.manifest.host[KIND] == {"watch": "g-watch", "window_end_ns": at}


def test_the_oldest_evidence_goes_when_there_is_too_much(tmp_path: Path, episode: Episode) -> None:
    bounded = Bounded(tmp_path, KIND, Bounds(bytes=1 << 30, count=2))
    keeper = EvidenceKeeper(bounded, SUBJECT, {}, "phasewatch edge test")
    for i in range(4):
        feed(keeper, episode, 2, first=2 * i)
        keeper.alarm(f"g-alarm-{i}", START + (i + 1) * 10 * SECOND)
    feed(keeper, episode, 1, first=8)
    keeper.end(START + 50 * SECOND)
    assert [path.name for path in parts_of(tmp_path)] == ["g-alarm-2", "g-alarm-3"]


def test_a_window_names_a_recording_when_its_alarm_rises_and_the_same_one_for_five_minutes() -> None:
    evidence = Evidence("g", kept=True)
    first = evidence.name(START, True)
    assert first == "g-alarm-20261122T172640.000Z"
    assert evidence.take() == (first, START)
    assert evidence.take() is None
    assert evidence.name(START + 5 * SECOND, True) is None  # it stands, and does not rise
    assert evidence.name(START + 10 * SECOND, False) is None
    assert evidence.name(START + 60 * SECOND, True) == first
    assert evidence.take() is None
    evidence.name(START + 65 * SECOND, False)
    assert evidence.name(START + AFTER_NS, True) != first
    assert Evidence("g", kept=False).name(START, True) is None


def test_evidence_is_an_episode_like_any_other_that_nobody_has_labelled_yet(tmp_path: Path, episode: Episode) -> None:
    keeper = EvidenceKeeper(
        Bounded(tmp_path, KIND, Bounds(bytes=1 << 30)), dataclasses.replace(SUBJECT), {}, "phasewatch edge test"
    )
    feed(keeper, episode, 10)
    keeper.alarm("g-alarm", START + 50 * SECOND)
    keeper.end(START + 60 * SECOND)
    assert json.loads((tmp_path / "h" / "g-alarm" / "episode.json").read_text())["profile"] == "unlabelled"
