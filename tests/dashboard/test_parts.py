"""The dashboard's rooms by themselves: packing, history, board, drawing, access."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import ConfigError
from contracts.events.envelope import make_event
from contracts.events.payloads import ClockSet, Flag, ShadowWindow, TopChannel, WindowData
from contracts.vocabulary import PHASES, SOURCES, Phase
from edge.dashboard.access import GUESSES, Door, Password, write_password
from edge.dashboard.board import Board
from edge.dashboard.drawing import COLUMNS, STRIDE_NS, Narrow, Wide, columns, sparkline, timeline
from edge.dashboard.history import DAY_NS, History
from edge.dashboard.packing import pack, unpack
from edge.dashboard.rows import Gap
from tests.dashboard.sent import BUNDLE, episode, window

PHASE = st.one_of(st.none(), st.sampled_from(PHASES))
SHARE = st.floats(0, 1)


@st.composite
def any_window(draw: st.DrawFn) -> WindowData:
    end = draw(st.integers(0, 1 << 61))
    shadow = ShadowWindow(bundle=BUNDLE, probabilities={}, decided=draw(PHASE)) if draw(st.booleans()) else None
    return WindowData(
        episode_id="e", bundle=BUNDLE, start_wall_ns=0, end_wall_ns=end,
        probabilities={phase: draw(SHARE) for phase in PHASES},
        decided=draw(PHASE), phase=draw(PHASE), alarm=draw(st.booleans()),
        truth=draw(PHASE), purity=None, observed={source: draw(SHARE) for source in SOURCES if draw(st.booleans())},
        top_channels=[TopChannel(channel=f"c{i}", score=0.5 * i) for i in range(draw(st.integers(0, 5)))],
        flags=draw(st.lists(st.sampled_from(get_args(Flag)), unique=True)), shadow=shadow,
        clock_set=ClockSet(moved_ns=1, skipped=0) if draw(st.booleans()) else None,
    )  # fmt: skip


@given(any_window())
def test_a_packed_window_says_what_the_event_said(data: WindowData) -> None:
    packed = pack(data, lambda name: int(name[1:]))
    shown = unpack(data.end_wall_ns, packed)
    assert len(packed) <= 19 + 6 * len(data.top_channels)
    assert (shown.decided, shown.truth, shown.alarm) == (data.decided, data.truth, data.alarm)
    assert (shown.phase, shown.told) == (data.phase, data.told)
    assert shown.shadow == (data.shadow.decided if data.shadow else None)
    assert set(shown.flags) == set(data.flags)
    assert shown.clock_set == (data.clock_set is not None)
    assert all(abs(a - data.probabilities[p]) < 1e-4 for a, p in zip(shown.probabilities, PHASES, strict=True))
    for source, share in zip(SOURCES, shown.observed, strict=True):
        said = data.observed.get(source)
        assert (share is None) == (said is None)
        assert share is None or said is None or abs(share - said) < 0.003
    assert [number for number, _ in shown.top] == list(range(len(data.top_channels)))


def fill(history: History, guest: str, ends: list[int], *, alarmed: tuple[int, ...] = (), heard_ns: int = 1) -> int:
    number = history.guest("n", guest)
    for end in ends:
        data = window(guest, end, alarm=end in alarmed)
        event = make_event(data, node="n", guest=guest, t_wall_ns=end, schema_hash="a" * 64)
        history.add(number, event, b"", heard_ns)
    return number


def test_a_history_keeps_each_window_once_and_outlives_its_process(tmp_path: Path) -> None:
    history = History(tmp_path / "h")
    for _ in range(2):
        number = fill(history, "g", [3, 1, 2], alarmed=(2, 3))
    history.close()
    history = History(tmp_path / "h")
    (one,) = history.episodes(number)
    assert [shown.end_ns for shown in history.windows(number, one.id)] == [1, 2, 3]
    assert [shown.end_ns for shown in history.last_windows(number, one.id, 2)] == [2, 3]
    assert history.evidence(number, one.id, 3) == "g-evidence"
    board = Board(history)
    standing = board.guests["n", "g"]
    assert (standing.last_ns, standing.alarm, standing.phase) == (3, True, "clean")
    history.close()


def test_an_alarm_is_one_from_its_rise_to_its_end_and_its_note_stays(tmp_path: Path) -> None:
    history = History(tmp_path / "h")
    number = fill(history, "g", [1, 2, 3, 4, 5], alarmed=(2, 3, 5))
    second, first = history.alarms(number)
    assert (first.start_ns, first.end_ns, first.over) == (2, 4, True)
    assert (second.start_ns, second.over) == (5, False)
    assert history.acknowledge(first.id, "a backup", 9)
    assert not history.acknowledge(999, "", 9)
    ended = make_event(episode("g", 0, "ended"), node="n", guest="g", t_wall_ns=6, schema_hash="a" * 64)
    history.add(number, ended, b"", 1)
    history.close()
    history = History(tmp_path / "h")
    assert [(one.over, one.note) for one in history.alarms(number)] == [(True, None), (True, "a backup")]
    history.close()


def test_what_is_old_by_its_receipt_is_forgotten_and_a_removed_guest_wholly(tmp_path: Path) -> None:
    history = History(tmp_path / "h", keep_days=2)
    old, new = fill(history, "old", [1, 2], heard_ns=DAY_NS), fill(history, "new", [1, 2], heard_ns=5 * DAY_NS)
    history.prune(6 * DAY_NS)
    assert history.episodes(old) == []
    assert len(history.episodes(new)) == 1
    history.remove(new)
    assert history.episodes(new) == []
    assert ("n", "new") not in history.guests()
    history.close()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 4000), PHASE, st.booleans()), min_size=1, max_size=60, unique_by=lambda one: one[0]
    )
)
def test_drawings_are_whole_and_bounded(some: list[tuple[int, object, bool]]) -> None:
    history = History(None)
    number = history.guest("n", "g")
    for place, phase, alarm in sorted(some, key=lambda one: one[0]):
        data = window("g", place * STRIDE_NS, phase, alarm=alarm)  # type: ignore[arg-type] # a phase or none
        event = make_event(data, node="n", guest="g", t_wall_ns=1, schema_hash="a" * 64)
        history.add(number, event, b"", 1)
    (one,) = history.episodes(number)
    windows = list(history.windows(number, one.id))
    first, last = windows[0].end_ns - STRIDE_NS, windows[-1].end_ns
    shown = columns(windows, first, last)
    assert len(shown) <= COLUMNS + 2
    assert any(one.alarm for one in shown) == any(one.alarm for one in windows)
    for size in (Wide, Narrow):
        drawn = timeline(shown, [Gap(1, 3, "unknown", one.id, first)], first, last, size)
        root = ET.fromstring(drawn)
        numbers = [float(n) for n in re.findall(r'[xy]="(-?[0-9.]+)"', drawn)]
        assert all(0 <= n <= size.width for n in numbers)
        assert root.get("data-first") == str(first)
        assert "3 events are missing: nobody knows why" in drawn
    recent = [(one.end_ns, one.decided, one.alarm) for one in windows]
    assert ET.fromstring(sparkline(recent, "k")).tag.endswith("svg")
    history.close()


def test_a_day_is_drawn_from_twenty_thousand_windows_with_its_alarms() -> None:
    history = History(None)
    number = fill(history, "g", [i * STRIDE_NS for i in range(1, 17_281)], alarmed=(9000 * STRIDE_NS,))
    (one,) = history.episodes(number)
    shown = columns(history.windows(number, one.id), 0, DAY_NS)
    assert len(shown) <= COLUMNS + 1
    assert sum(some.alarm for some in shown) == 1
    history.close()


def test_a_password_is_kept_as_a_hash_and_a_cookie_outlives_a_restart_but_no_other_password(tmp_path: Path) -> None:
    path = tmp_path / "login"
    write_password(path, "correct horse")
    assert b"correct horse" not in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    password = Password(path)
    assert password.fits("correct horse")
    assert not password.fits("correct hors")
    cookie = Door(password, "secret").cookie()
    assert Door(Password(path), "secret").lets_in(cookie)
    assert not Door(password, "another").lets_in(cookie)
    assert not any(Door(password, "secret").lets_in(some) for some in (None, "", "in", cookie[:-1], cookie + "x"))
    write_password(path, "another one")
    assert not Door(Password(path), "secret").lets_in(cookie)
    assert Door(None, "secret").lets_in(None)


@pytest.mark.parametrize(
    "text", ["", "correct horse", "scrypt 1 1", "scrypt 99999999 8 1 " + "0" * 32 + " " + "0" * 64]
)
def test_a_file_that_is_no_hash_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "login").write_text(text)
    with pytest.raises(ConfigError, match="no password's hash; expected a file made by edge dashboard --set-password"):
        Password(tmp_path / "login")


def test_guesses_are_counted_by_address_and_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("edge.dashboard.access.time.monotonic", lambda: now[0])
    door = Door(None, "s")
    assert [door.may_guess("a") for _ in range(GUESSES + 1)] == [True] * GUESSES + [False]
    assert door.may_guess("b")
    others = [door.may_guess(f"c{i}") for i in range(60)]
    assert others.count(True) == 10 * GUESSES - GUESSES - 1
    now[0] += 61
    assert door.may_guess("a")


def test_states_tell_waiting_live_stale_stopped_and_offline_apart() -> None:
    history = History(None)
    board = Board(history)
    one = board.standing("n", "g", 1)
    now = time.time_ns()
    assert one.state("online", now) == "waiting"
    board.window(one, 1, window("g", now), now)
    assert one.state("online", now) == "live"
    assert one.state("online", now + 21_000_000_000) == "stale"
    assert one.state("offline", now) == "offline"
    assert one.state("stopped", now) == "stopped"
    board.episode(one, 1, episode("g", 0, "ended"), now)
    assert one.state("online", now) == "stopped"
    history.close()


def test_a_live_watch_is_not_forgotten_though_it_began_long_ago(tmp_path: Path) -> None:
    history = History(tmp_path / "h", keep_days=2)
    number = fill(history, "g", [1], heard_ns=DAY_NS)
    fill(history, "g", [5 * DAY_NS], alarmed=(5 * DAY_NS,), heard_ns=6 * DAY_NS)
    history.prune(7 * DAY_NS)
    (one,) = history.episodes(number)
    assert [shown.end_ns for shown in history.windows(number, one.id)] == [5 * DAY_NS]  # its long past is
    assert len(history.alarms(number)) == 1
    history.close()


def test_windows_after_a_clock_was_set_back_and_a_second_replay_are_shown() -> None:
    history = History(None)
    board = Board(history)
    one = board.standing("n", "g", 1)
    board.window(one, 1, window("g", 100), 1)
    board.window(
        one, 1, msgspec.structs.replace(window("g", 50, "armed"), clock_set=ClockSet(moved_ns=-50, skipped=0)), 2
    )
    assert (one.last_ns, one.phase) == (50, "armed")
    board.window(one, 1, window("g", 40), 3)  # late, and no news
    assert one.last_ns == 50
    board.episode(one, 1, episode("g", 0), 4)
    board.window(one, 1, window("g", 10, "infecting", alarm=True), 5)
    assert (one.last_ns, one.phase, one.alarm) == (10, "infecting", True)
    board.episode(one, 7, episode("g", 0, "ended"), 6)  # of another, late
    assert (one.episode, one.ended) == (1, False)
    history.close()


def test_an_alarm_that_is_said_again_is_the_same_and_another_episode_ends_what_was_up(tmp_path: Path) -> None:
    history = History(tmp_path / "h")
    number = fill(history, "g", [1, 2, 3], alarmed=(2,))
    fill(history, "g", [2], alarmed=(2,))
    assert [(one.start_ns, one.over) for one in history.alarms(number)] == [(2, True)]
    fill(history, "g", [4], alarmed=(4,))
    assert [one.over for one in history.alarms(number)] == [False, True]
    history.episode(number, "another", 1)
    assert [one.over for one in history.alarms(number)] == [True, True]
    history.close()


def test_places_that_came_late_or_are_told_are_missing_no_more() -> None:
    history = History(None)
    number = history.guest("n", "g")
    history.add_gap(number, Gap(3, 9, "unknown", 1, 1), 1)
    assert history.missing(number) == 7
    history.fill(number, 5, 5)
    assert (history.missing(number), len(history.gaps(number, 1))) == (6, 2)
    history.fill(number, 1, 4)
    assert history.missing(number) == 4
    history.fill(number, 6, 20)
    assert history.missing(number) == 0
    history.close()


def test_a_history_whose_disk_was_full_goes_on_with_the_numbers_of_its_file(tmp_path: Path) -> None:
    history = History(tmp_path / "h")
    first = fill(history, "a", [1])
    history.commit()
    history.guest("n", "b")
    history.forget_uncommitted()
    second = history.guest("n", "c")
    assert history.guests() == {("n", "a"): first, ("n", "c"): second}
    assert (tmp_path / "h").stat().st_mode & 0o077 == 0
    history.close()


@pytest.mark.parametrize(("byte", "decided"), [(0, "clean"), (4, "dormant"), (255, None)])
def test_a_window_that_an_earlier_version_packed_has_no_filtered_phase(byte: int, decided: Phase | None) -> None:
    shown = unpack(7, bytes([byte, 255, 255, 0]) + bytes(15))
    assert (shown.decided, shown.phase, shown.told) == (decided, None, decided)
