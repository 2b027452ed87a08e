"""A wall clock that is set while a guest is watched: no flood of windows, no silence, and it is said."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.bundle.keys import load_trusted_keys
from contracts.features.schema import SECOND, FeatureSchema, feature_schema
from contracts.telemetry.episode import Episode
from contracts.vocabulary import PHASES
from edge.alarm import alarm_of
from edge.deliver.outbox import opened
from edge.feeds.replay import arrivals, replay, subject_of
from edge.model.models import Fixed
from edge.model.opened import activate
from edge.watch.agent import Agent
from edge.watch.health import Health
from edge.watch.subject import Subject
from edge.watch.watch import Watch
from tests.bundles import make_bundle

DAY, HOUR = 86_400 * SECOND, 3600 * SECOND
Window = dict[str, Any]


@pytest.fixture
def watched(tmp_path: Path, schema: FeatureSchema, signing_key: Path) -> Callable[..., list[tuple[str, bytes]]]:
    """(kind, payload) of all events of a replay."""
    bundle = make_bundle(tmp_path, schema, signing_key)

    def events(episode: Episode, *, live: bool = False) -> list[tuple[str, bytes]]:
        with opened(tmp_path / "outbox") as box:
            models = Fixed(activate(bundle, schema, load_trusted_keys(signing_key.parent)))
            agent = Agent(models, schema, node="n", outbox=box, health=Health())
            if live:
                as_if_live(agent, episode)
            else:
                replay(agent, episode, schema, None)
            messages = box.pending(100_000)
            box.remove(messages)
        return [(m.topic.rpartition("/")[2], m.payload) for m in messages]

    return events


def as_if_live(agent: Agent, episode: Episode) -> None:
    """A watch that knows of no end."""
    agent.begin(dataclasses.replace(subject_of(episode), mode="live", ended_wall_ns=None, labels=()))
    for at_ns, set_ns, source, row in arrivals(episode):
        if set_ns:
            agent.clock_set(at_ns - set_ns, at_ns)
        agent.advance(at_ns - 1)
        agent.feed(source, row)


def windows(events: list[tuple[str, bytes]]) -> list[Window]:
    return [json.loads(payload)["data"] for kind, payload in events if kind == "window"]


def clock_set(episode: Episode, moved_ns: int, after_s: float = 60) -> Episode:
    """The same recording, had the wall clock been set in its midst; labels are left out, since none would fit."""
    at = episode.manifest.started_wall_ns + int(after_s * SECOND)

    def later(row: Any) -> Any:
        names = ("t_wall_ns", "recv_wall_ns", "start_wall_ns", "end_wall_ns")
        arrival = getattr(row, "recv_wall_ns", row.t_wall_ns)
        times = {name: getattr(row, name) + moved_ns for name in names if hasattr(row, name)}
        return msgspec.structs.replace(row, **times) if arrival >= at else row

    rows = {source: [later(row) for row in some] for source, some in episode.rows.items()}
    manifest = episode.manifest
    ended = manifest.ended_wall_ns + moved_ns
    started = min(manifest.started_wall_ns, ended - SECOND)  # what a replay is told has no end before its start
    manifest = msgspec.structs.replace(manifest, ended_wall_ns=ended, started_wall_ns=started)
    return msgspec.structs.replace(episode, manifest=manifest, rows=rows, labels=[])


@pytest.mark.parametrize("moved_ns", [30 * DAY, HOUR, 37 * SECOND], ids=["30 days", "an hour", "37 s"])
def test_a_watch_skips_to_the_present_when_the_clock_is_set_forward(
    episode: Episode, watched: Callable[..., list[tuple[str, bytes]]], moved_ns: int
) -> None:
    alone = windows(watched(msgspec.structs.replace(episode, labels=[])))
    found = windows(watched(clock_set(episode, moved_ns)))
    assert len(alone) - 2 <= len(found) <= len(alone) + 3
    (told,) = [window["clock_set"] for window in found if window["clock_set"]]
    assert abs(told["moved_ns"] - moved_ns) < SECOND
    assert abs(told["skipped"] - moved_ns // (5 * SECOND)) <= 3
    at = episode.manifest.started_wall_ns + 60 * SECOND
    for window in found:
        start, end = window["start_wall_ns"], window["end_wall_ns"]
        touches = start < at < end or start < at + moved_ns < end
        assert ("clock_step" in window["flags"]) == touches, (start - at, end - at)
    ends = [window["end_wall_ns"] for window in found]
    assert ends == sorted(set(ends))
    assert found[-1]["observed"]["proc"] > 0.95  # it sees again


@pytest.mark.parametrize("moved_ns", [-HOUR, -30 * DAY], ids=["an hour", "30 days"])
def test_a_watch_goes_on_when_the_clock_is_set_back(
    episode: Episode, watched: Callable[..., list[tuple[str, bytes]]], moved_ns: int
) -> None:
    alone = windows(watched(episode, live=True))
    started = episode.manifest.started_wall_ns
    at = (started + 60 * SECOND) // (5 * SECOND) * 5 * SECOND + SECOND  # a second after a window's end
    turned = clock_set(episode, moved_ns, (at - started) / SECOND)
    found = windows(watched(msgspec.structs.replace(turned, manifest=episode.manifest), live=True))
    before = [window for window in found if window["end_wall_ns"] > at + moved_ns + HOUR // 2]
    after = [window for window in found if window["end_wall_ns"] <= at + moved_ns + HOUR // 2]
    assert len(before) + len(after) >= len(alone) - 1
    assert len(after) > 10
    assert ["clock_step" in window["flags"] for window in before[-2:]] == [False, True]  # the last had not settled
    (told,) = [window["clock_set"] for window in found if window["clock_set"]]
    assert told == after[0]["clock_set"]
    assert abs(told["moved_ns"] - moved_ns) < SECOND
    assert told["skipped"] == 0
    for window in after:
        assert ("clock_step" in window["flags"]) == (window["start_wall_ns"] < at + moved_ns)
        assert "rows_dropped" not in window["flags"]
    assert after[-1]["observed"]["proc"] > 0.95


@pytest.mark.parametrize("moved_ns", [30 * DAY, 2 * SECOND, -3 * SECOND, -HOUR])
def test_the_same_rows_give_the_same_events_whatever_the_clock_did(
    episode: Episode, watched: Callable[..., list[tuple[str, bytes]]], moved_ns: int
) -> None:
    turned = msgspec.structs.replace(clock_set(episode, moved_ns), manifest=episode.manifest)
    once, again = (windows(watched(turned, live=True)) for _ in range(2))
    assert once == again
    assert len(once) > 15


def test_perf_comes_as_often_as_before_when_the_clock_is_set(
    episode: Episode, watched: Callable[..., list[tuple[str, bytes]]]
) -> None:
    count = sum(kind == "perf" for kind, _ in watched(clock_set(episode, 30 * DAY)))
    assert abs(count - sum(kind == "perf" for kind, _ in watched(episode))) <= 1


def test_rows_of_a_clock_that_was_set_back_come_in_the_order_in_which_they_were_recorded(episode: Episode) -> None:
    turned = clock_set(episode, -30 * SECOND)
    order = {id(row): i for i, (_, _, _, row) in enumerate(arrivals(episode))}
    originals = {source: list(rows) for source, rows in episode.rows.items()}
    at = dict.fromkeys(originals, 0)
    mixed = []
    for _, _, source, _ in arrivals(turned):
        mixed.append((source, order[id(originals[source][at[source]])]))
        at[source] += 1
    sampled = [number for source, number in mixed if source != "netflow"]
    assert sampled == sorted(sampled)
    steps = [moved for _, moved, _, _ in arrivals(turned) if moved]
    assert len(steps) == 1
    assert abs(steps[0] + 30 * SECOND) < SECOND


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 40 * SECOND), st.sampled_from([0, 0, 2, -2, -9, 12, 61, -61, 3600, -3600, 2_592_000])),
        max_size=30,
    ),
    st.integers(1, 4),
)
def test_a_watch_neither_floods_nor_falls_silent_however_the_clock_is_set(
    steps: list[tuple[int, int]], stride_s: int
) -> None:
    """Windows come about once a stride of the time that really passes."""
    schema = msgspec.structs.replace(feature_schema(), stride_ns=stride_s * 5 * SECOND)
    start = 1_795_369_140 * SECOND
    subject = Subject(
        mode="live", host_id="h", guest_id="g", episode_id="e", guest_addresses=frozenset(), sources=(),
        started_wall_ns=start,
    )  # fmt: skip
    watch, now, passed, count, quiet = Watch(subject, schema, alarm_of(None, PHASES)), start, 0, 0, 0

    def look(until: int) -> int:
        seen = 0
        while watch.due(until) is not None:
            seen += 1
            assert seen < 100
        return seen

    for lasts, moved_s in steps:
        for _ in range(-(-lasts // SECOND)):
            now, passed = now + SECOND, passed + SECOND
            seen = look(now)
            count, quiet = count + seen, 0 if seen else quiet + SECOND
            assert quiet <= 2 * schema.window_ns + schema.stride_ns + schema.settle_ns + SECOND
        if moved_s:
            after = now + moved_s * SECOND
            if moved_s < 0 and watch.far_back(after):
                watch.cut_short(now)
                count += look(now + schema.settle_ns)
            watch.clock_set(now, after)
            now = after
    allowed = sum(4 for _, moved_s in steps if moved_s)
    assert count <= passed // schema.stride_ns + 1 + allowed


def test_a_stride_longer_than_the_window_starts_a_watch(schema: FeatureSchema) -> None:
    sparse = msgspec.structs.replace(schema, stride_ns=60 * SECOND)
    subject = Subject(
        mode="live", host_id="h", guest_id="g", episode_id="e", guest_addresses=frozenset(), sources=(),
        started_wall_ns=7 * SECOND,
    )  # fmt: skip
    watch = Watch(subject, sparse, alarm_of(None, PHASES))
    assert [watch.due(200 * SECOND) for _ in range(4)] == [60 * SECOND, 120 * SECOND, 180 * SECOND, None]


def test_no_row_is_called_dropped_on_a_watch_that_begins_with_unix_time(
    episode: Episode, watched: Callable[..., list[tuple[str, bytes]]]
) -> None:
    """As on a machine without a clock: 0 is a time like any other, and not "never"."""
    shift = episode.manifest.started_wall_ns - 15 * SECOND

    def early(row: Any) -> Any:
        names = ("t_wall_ns", "recv_wall_ns", "start_wall_ns", "end_wall_ns")
        return msgspec.structs.replace(row, **{n: getattr(row, n) - shift for n in names if hasattr(row, n)})

    rows = {source: [early(row) for row in some] for source, some in episode.rows.items()}
    manifest = msgspec.structs.replace(
        episode.manifest, started_wall_ns=15 * SECOND, ended_wall_ns=episode.manifest.ended_wall_ns - shift
    )
    found = windows(watched(msgspec.structs.replace(episode, rows=rows, manifest=manifest, labels=[])))
    assert len(found) > 15
    assert [window["flags"] for window in found] == [["unfiltered"]] * len(found)
