"""What the live feed makes of arrivals is what a replay makes of their recording: byte for byte, whatever happens.

Rows here are real ones, moved in time; a hostile schedule decides when they are handed over, and what the clock does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.bundle.keys import load_trusted_keys
from contracts.features.schema import SECOND, FeatureSchema
from contracts.telemetry.episode import Episode, read_episode
from contracts.telemetry.rows import Row
from contracts.vocabulary import Source
from edge.collectors.base import Stamp, Taken
from edge.deliver.outbox import Outbox, opened
from edge.feeds.live import GRACE_NS, Live
from edge.feeds.replay import replay, watches
from edge.model.models import Fixed
from edge.model.opened import Active, activate
from edge.record.bounded import Bounded, Bounds
from edge.record.keeper import Keeper, Kept
from edge.record.writer import Writer
from edge.watch.agent import Agent
from edge.watch.health import Health
from edge.watch.subject import Subject
from tests.bundles import make_bundle

START = 1_795_368_400 * SECOND
MONO = 5_000 * SECOND
SOURCES: tuple[Source, ...] = ("proc", "qmp", "guest", "netflow")


@pytest.fixture(scope="module")
def active(tmp_path_factory: pytest.TempPathFactory, schema: FeatureSchema, signing_key: Path) -> Active:
    """A model that raises the alarm on some windows."""
    folder = tmp_path_factory.mktemp("bundle")
    return activate(make_bundle(folder, schema, signing_key, 2), schema, load_trusted_keys(signing_key.parent))


def windows_of(outbox: Outbox) -> list[bytes]:
    return [one.payload for one in outbox.pending(100_000) if one.topic.endswith("/window")]


def moved(row: Row, at: Stamp) -> Row:
    """The row as if it had come at another moment."""
    if hasattr(row, "recv_wall_ns"):
        shift = at.wall_ns - row.recv_wall_ns
        names = ("t_wall_ns", "recv_wall_ns", "start_wall_ns", "end_wall_ns")
        return msgspec.structs.replace(row, **{name: getattr(row, name) + shift for name in names})
    return msgspec.structs.replace(row, t_wall_ns=at.wall_ns, t_mono_ns=at.mono_ns)


Step = tuple[float, float]
"""At which second of the watch, and by how many seconds the clock is set."""


def watched(
    folder: Path,
    schema: FeatureSchema,
    active: Active,
    rows: Sequence[tuple[float, float, Source, Row]],
    steps: Sequence[Step],
    seconds: float,
    turns: Sequence[float],
    part_s: float = 3600,
) -> tuple[list[bytes], list[Path], Live]:
    """A live watch of rows (second at which each comes, delay until it is handed over); and its recording's parts."""

    def stamp(second: float) -> Stamp:
        set_s = sum(by for at, by in steps if at <= second)
        return Stamp(START + round((second + set_s) * SECOND), MONO + round(second * SECOND))

    with opened(folder / "outbox") as outbox:
        writer = Writer()
        agent = Agent(Fixed(active), schema, node="n", outbox=outbox, health=Health())
        subject = Subject(
            mode="live", host_id="h", guest_id="g", episode_id="g-watch", guest_addresses=frozenset({"10.77.0.2"}),
            sources=SOURCES, started_wall_ns=START, evidence=True,
        )  # fmt: skip
        kept = Kept(
            writer=writer,
            tee=Bounded(folder / "store", "watch", Bounds(bytes=1 << 30)),
            part_ns=round(part_s * SECOND),
            evidence=Bounded(folder / "evidence", "evidence", Bounds(bytes=1 << 30)),
        )
        live = Live(agent, subject, Keeper(kept, {}))
        live.begin(stamp(0))
        coming = sorted(rows, key=lambda one: one[0] + one[1])
        now, i, turn = 0.0, 0, 0
        while now < seconds:
            now = min(seconds, now + turns[turn % len(turns)])
            turn += 1
            while i < len(coming) and coming[i][0] + coming[i][1] <= now:
                second, _, source, row = coming[i]
                at = stamp(second)
                live.put(source, [Taken(moved(row, at), at)])
                i += 1
            live.turn(stamp(now))
        live.end(stamp(seconds))
        writer.close(30)
        found = windows_of(outbox)
    return found, sorted(path.parent for path in (folder / "store").glob("*/*/episode.json")), live


def replayed(folder: Path, schema: FeatureSchema, active: Active, parts: list[Path]) -> list[bytes]:
    with opened(folder / "again") as outbox:
        agent = Agent(Fixed(active), schema, node="n", outbox=outbox, health=Health())
        for first, *more in watches(parts):
            replay(agent, read_episode(first), schema, None, map(read_episode, more))
        return windows_of(outbox)


def rows_of(episode: Episode, seconds: float, delay: Any) -> list[tuple[float, float, Source, Row]]:
    """The first seconds of a recording."""
    start = episode.manifest.started_wall_ns
    found = []
    for source, rows in episode.rows.items():
        for row in rows:
            second = (getattr(row, "recv_wall_ns", row.t_wall_ns) - start) / SECOND
            if 0 < second < seconds:
                found.append((second, delay(source, second), source, row))
    return found


def prompt(_source: Source, _second: float) -> float:
    return 0.01


def test_a_live_watch_and_a_replay_of_its_recording_give_the_same_windows(
    tmp_path: Path, schema: FeatureSchema, active: Active, episode: Episode
) -> None:
    live, parts, watch = watched(tmp_path, schema, active, rows_of(episode, 60, prompt), [], 60, [0.2], part_s=15)
    assert len(live) == 11  # windows that end by the last moment, though the last had not settled
    assert len(parts) == 4
    assert replayed(tmp_path, schema, active, parts) == live
    assert sum(watch.late.values()) == 0
    assert any(b'"evidence":"g-alarm-' in window for window in live)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_they_do_so_however_late_rows_come_and_however_the_clock_is_set(
    tmp_path_factory: pytest.TempPathFactory,
    schema: FeatureSchema,
    active: Active,
    episode: Episode,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("hostile")
    lags = data.draw(st.lists(st.sampled_from([0.0, 0.01, 0.2, 0.49, 0.6, 2.0]), min_size=1, max_size=7), "lags")
    steps = data.draw(
        st.lists(
            st.tuples(st.floats(3, 45), st.sampled_from([0.1, -0.1, 0.4, -0.4, 7.0, -3.0, 3600.0, -3600.0])),
            max_size=3,
        ),
        "steps",
    )
    gone = data.draw(st.sampled_from([(), ("proc",), ("netflow",), ("proc", "guest")]), "gone")
    turns = data.draw(st.lists(st.sampled_from([0.05, 0.2, 0.7, 4.0]), min_size=1, max_size=4), "turns")

    def delay(source: Source, second: float) -> float:
        if source in gone and second > 20:
            return 1e9
        return lags[int(second * 10) % len(lags)]

    live, parts, _ = watched(folder, schema, active, rows_of(episode, 50, delay), steps, 50, turns, part_s=20)
    assert replayed(folder, schema, active, parts) == live


def test_a_row_that_comes_after_its_grace_is_counted_and_neither_fed_nor_recorded(
    tmp_path: Path, schema: FeatureSchema, active: Active, episode: Episode
) -> None:
    def delay(source: Source, second: float) -> float:
        return GRACE_NS / SECOND + 0.5 if source == "guest" and 20 < second < 30 else 0.01

    rows = rows_of(episode, 40, delay)
    late = sum(source == "guest" and 20 < second < 30 for second, _, source, _ in rows)
    _, parts, watch = watched(tmp_path, schema, active, rows, [], 40, [0.2])
    assert watch.late == {"proc": 0, "qmp": 0, "guest": late, "netflow": 0}
    (part,) = parts
    assert len(read_episode(part).rows["guest"]) == sum(one[2] == "guest" for one in rows) - late


def test_a_flood_of_flows_costs_no_other_source_a_row(
    tmp_path: Path, schema: FeatureSchema, active: Active, episode: Episode
) -> None:
    rows = rows_of(episode, 20, prompt)
    flow = next(row for _, _, source, row in rows if source == "netflow")
    flood: list[tuple[float, float, Source, Row]] = [(10 + i / 40_000, 0.01, "netflow", flow) for i in range(40_000)]
    live, parts, watch = watched(tmp_path, schema, active, [*rows, *flood], [], 20, [1.0])
    assert watch.late["netflow"] > 30_000
    assert (watch.late["proc"], watch.late["qmp"], watch.late["guest"]) == (0, 0, 0)
    assert replayed(tmp_path, schema, active, parts) == live


def test_the_recording_that_the_last_window_names_is_there(
    tmp_path: Path, schema: FeatureSchema, active: Active, episode: Episode
) -> None:
    for seconds in range(15, 30, 2):  # in one of them the alarm rises at the very end
        folder = tmp_path / str(seconds)
        folder.mkdir()
        live, _, _ = watched(folder, schema, active, rows_of(episode, seconds, prompt), [], seconds, [0.2])
        named = {json.loads(window)["data"]["evidence"] for window in live} - {None}
        assert {path.parent.name for path in (folder / "evidence").glob("h/*/episode.json")} == named


def test_a_recording_of_an_alarm_begins_before_its_window_also_where_the_clock_was_set_forward_meanwhile(
    tmp_path: Path, schema: FeatureSchema, active: Active, episode: Episode
) -> None:
    rows = rows_of(episode, 45, prompt)
    whole, _, _ = watched(tmp_path, schema, active, rows, [], 45, [0.2])
    window = next(one for one in (json.loads(one)["data"] for one in whole) if one["evidence"])
    end_s = (window["end_wall_ns"] - START) / SECOND
    for second in (end_s - 3, end_s + 0.5):  # inside the window, and before it has settled
        folder = tmp_path / str(second)
        folder.mkdir()
        watched(folder, schema, active, rows, [(second, 3600)], 45, [0.2])
        path = min((folder / "evidence").glob("h/*/episode.json"))
        kept = read_episode(path.parent)
        assert kept.manifest.host["evidence"]["window_end_ns"] == window["end_wall_ns"]
        assert min(row.t_wall_ns for row in kept.rows["proc"]) < window["start_wall_ns"] + SECOND


def test_flows_of_other_guests_are_left_out(
    tmp_path: Path, schema: FeatureSchema, active: Active, episode: Episode
) -> None:
    others = [
        (
            second,
            lag,
            source,
            msgspec.structs.replace(row, src="10.77.0.8", dst="10.77.0.9") if source == "netflow" else row,
        )
        for second, lag, source, row in rows_of(episode, 30, prompt)
    ]
    _, parts, _ = watched(tmp_path, schema, active, others, [], 30, [0.2])
    assert read_episode(parts[0]).rows["netflow"] == []


def test_parts_that_do_not_follow_each_other_are_replayed_apart(
    tmp_path: Path, schema: FeatureSchema, active: Active, episode: Episode
) -> None:
    _, parts, _ = watched(tmp_path, schema, active, rows_of(episode, 60, prompt), [], 60, [0.2], part_s=15)
    assert watches(parts) == [parts]
    assert watches([parts[0], parts[2], parts[3]]) == [[parts[0]], [parts[2], parts[3]]]
    assert watches([parts[1], parts[0]]) == [[parts[1]], [parts[0]]]
