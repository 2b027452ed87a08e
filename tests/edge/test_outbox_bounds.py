"""What an outbox holds at most, what goes first, what it says of that, and what it does with a file that is torn."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.events.envelope import decode_event, encode_event, make_event
from contracts.events.payloads import GapData, Run
from edge.deliver.outbox import Outbox, opened
from edge.deliver.rows import Bounds, Rank
from edge.session.delivery import told

HASH = "a" * 64
SOURCE = "/phasewatch/n/g"


def numbered_event(
    outbox: Outbox, mark: int, rank: Rank = Rank.WINDOW, *, guest: str = "g", topic: str = "window"
) -> None:
    """A real event, of which `mark` is told apart from others."""
    data = GapData(stream=str(mark), cause="too_old", ranges=[], count=None)
    event = make_event(data, node="n", guest=guest, t_wall_ns=mark, schema_hash=HASH)
    outbox.put(
        source=event.source, event_id=event.id, topic=f"phasewatch/n/{guest}/{topic}", qos=1, retain=False,
        payload=encode_event(event), rank=rank, schema=HASH,
    )  # fmt: skip


def waiting(outbox: Outbox) -> list[tuple[int, int]]:
    """Mark and sequence number of what waits."""
    found = [json.loads(message.payload) for message in outbox.pending(10_000)]
    return [(int(one["data"]["stream"]), int(one["sequence"])) for one in found]


def test_every_event_of_a_source_has_the_next_number_over_restarts_and_a_repeated_one_none(tmp_path: Path) -> None:
    with opened(tmp_path / "o") as outbox:
        for mark in (1, 2, 2, 3):
            numbered_event(outbox, mark)
        numbered_event(outbox, 9, guest="other")
        assert waiting(outbox) == [(1, 1), (2, 2), (3, 3), (9, 1)]
        outbox.remove(outbox.pending(10))
    with opened(tmp_path / "o") as outbox:
        numbered_event(outbox, 2)  # said again after it was sent: that is another place
        numbered_event(outbox, 4)
        assert waiting(outbox) == [(2, 4), (4, 5)]


def test_what_goes_first_is_perf_then_superseded_scorecards_then_windows_and_an_alarms_windows_last(
    tmp_path: Path,
) -> None:
    left = []
    with opened(tmp_path / "o") as outbox:
        for mark, (rank, topic) in enumerate(
            [(Rank.ALARM, "window"), (Rank.LATEST, "metrics"), (Rank.WINDOW, "window"), (Rank.KEPT, "episode"),
             (Rank.PERF, "perf"), (Rank.LATEST, "metrics"), (Rank.WINDOW, "window")]
        ):  # fmt: skip
            numbered_event(outbox, mark, rank, topic=topic)
    for most in range(7, 0, -1):
        with opened(tmp_path / "o", Bounds(events=most)) as outbox:
            numbered_event(outbox, 100 + most, Rank.PERF, topic="perf")  # one too many: the first to go
            marks = [mark for mark, _ in waiting(outbox) if mark < 100]
            left.append(marks)
    # perf 4, the older scorecard 1, windows 2 and 6, the scorecard 5, the episode 3, and the alarm's window 0
    assert left == [
        [0, 1, 2, 3, 5, 6], [0, 1, 2, 3, 5, 6], [0, 2, 3, 5, 6], [0, 3, 5, 6], [0, 3, 5], [0, 3], [0],
    ]  # fmt: skip


def test_bytes_are_bounded_too(tmp_path: Path) -> None:
    with opened(tmp_path / "o", Bounds(bytes=20_000)) as outbox:
        for number in range(50):
            outbox.put(source="s", event_id=str(number), topic="t", qos=1, retain=False, payload=bytes(1000))
        held = outbox.pending(99)
        assert len(held) == 20_000 // (1000 + 300)
        assert outbox.dropped == 50 - len(held)


def test_what_is_too_old_goes_by_a_clock_that_nobody_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("edge.deliver.outbox.time.monotonic", lambda: now[0])
    with opened(tmp_path / "o", Bounds(seconds=100)) as outbox:
        numbered_event(outbox, 1)
        now[0] += 60
        numbered_event(outbox, 2)
        monkeypatch.setattr(
            "edge.deliver.outbox.time.time_ns", lambda: 4_000_000_000_000_000_000
        )  # set to the year 2096
        now[0] += 39
        numbered_event(outbox, 3)
        assert [mark for mark, _ in waiting(outbox)] == [1, 2, 3]
        now[0] += 2
        numbered_event(outbox, 4)
        assert [mark for mark, _ in waiting(outbox)] == [2, 3, 4]
    now[0] = 5.0  # another start of the machine
    with opened(tmp_path / "o", Bounds(seconds=100)) as outbox:
        now[0] += 59
        numbered_event(outbox, 5)
        assert [mark for mark, _ in waiting(outbox)] == [2, 3, 4, 5]
        now[0] += 2
        numbered_event(outbox, 6)
        assert [mark for mark, _ in waiting(outbox)] == [3, 4, 5, 6]
        assert [loss.cause for loss in outbox.losses()] == ["too_old"]


def test_what_was_lost_is_told_with_its_places_and_cause_once(tmp_path: Path) -> None:
    with opened(tmp_path / "o", Bounds(events=3)) as outbox:
        for mark in range(10):
            numbered_event(outbox, mark)
        (loss,) = outbox.losses()
        assert (loss.source, loss.cause, loss.ranges) == (SOURCE, "outbox_full", [(1, 7)])
        outbox.remove(outbox.pending(9))
    with opened(tmp_path / "o") as outbox:  # it is remembered until it is told
        (loss,) = outbox.losses()
        outbox.tell(loss, told(loss, outbox.clock()))
        (message,) = outbox.pending(9)
        assert message.topic == "phasewatch/n/g/gap"
        event = decode_event(message.payload)
        assert isinstance(event.data, GapData)
        assert (event.data.ranges, event.data.count, event.data.cause) == ([Run(first=1, last=7)], 7, "outbox_full")
        assert (event.sequence, outbox.losses()) == (f"{11:016d}", [])


@settings(max_examples=40, deadline=None)
@given(
    bound=st.integers(1, 6),
    put=st.lists(st.tuples(st.sampled_from(list(Rank)), st.sampled_from("gh"), st.booleans()), min_size=1, max_size=40),
)
def test_every_number_was_either_sent_or_is_told_as_lost(
    tmp_path_factory: pytest.TempPathFactory, bound: int, put: list[tuple[Rank, str, bool]]
) -> None:
    sent: list[tuple[str, int]] = []
    with opened(tmp_path_factory.mktemp("b") / "o", Bounds(events=bound)) as outbox:

        def send(count: int) -> None:
            for message in (some := outbox.pending(count)):
                event = decode_event(message.payload)
                sent.append((event.source, int(event.sequence)))
            outbox.remove(some)

        for mark, (rank, guest, drains) in enumerate(put):
            numbered_event(outbox, mark, rank, guest=guest)
            if drains:
                send(1)
        send(100)
        lost = [
            (loss.source, number)
            for loss in outbox.losses()
            for first, last in loss.ranges or []
            for number in range(first, last + 1)
        ]
    for guest in "gh":
        source, count = f"/phasewatch/n/{guest}", sum(one == guest for _, one, _ in put)
        assert sorted(number for name, number in sent + lost if name == source) == list(range(1, count + 1))


def test_the_file_shrinks_after_an_outage(tmp_path: Path) -> None:
    path = tmp_path / "o"
    with opened(path) as outbox:
        outbox._db.execute("PRAGMA synchronous = OFF")  # for the test's own speed
        for number in range(3000):
            outbox.put(source="s", event_id=str(number), topic="t", qos=1, retain=False, payload=bytes(1400))
        outbox.tidy()
        large = path.stat().st_size
        while batch := outbox.pending(500):
            outbox.remove(batch)
        for _ in range(50):
            outbox.tidy()
        outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert large > 4_000_000
        assert path.stat().st_size < 600_000


def spoil(path: Path) -> None:
    path.write_bytes(b"hello, this is not a database at all" * 100)


def tear(path: Path) -> None:
    """Pages in the middle are gone."""
    with opened(path) as outbox:
        for number in range(300):
            numbered_event(outbox, number)
    whole = bytearray(path.read_bytes())
    whole[8192 : 8192 + 60_000] = bytes(60_000)
    path.write_bytes(whole)


def stranger(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript("CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('mine');")


@pytest.mark.parametrize(
    ("harm", "found"),
    [(spoil, "file is not a database"), (tear, "damaged: "), (stranger, "a database of something else")],
)
def test_a_file_that_will_not_do_is_kept_aside_said_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: object, found: str
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "o"
    assert callable(harm)
    harm(path)
    before = path.read_bytes()
    with opened(path) as outbox:
        numbered_event(outbox, 7)
        assert [mark for mark, _ in waiting(outbox)] == [7]
        (loss,) = outbox.losses()
        assert (loss.source, loss.cause, loss.ranges) == (SOURCE, "outbox_damaged", None)
        event = decode_event(told(loss, 0.0).payload)
        assert isinstance(event.data, GapData)
        assert event.data.count is None
    (kept,) = [one for one in tmp_path.glob("o.damaged-*") if not one.name.endswith(("-wal", "-shm"))]
    assert kept.read_bytes() == before
    assert f"o: {found}" in caplog.text
    assert "it is kept as" in caplog.text


def test_what_a_broker_retains_of_another_bundle_is_cleared_and_only_that(tmp_path: Path) -> None:
    with opened(tmp_path / "o") as outbox:
        for guest, bundle in (("g", "old"), ("h", "new"), ("i", None)):
            outbox.put(
                source="s", event_id=guest, topic=f"phasewatch/n/{guest}/metrics", qos=1, retain=True, payload=b"card",
                bundle=bundle,
            )  # fmt: skip
        outbox.remove(outbox.pending(9))
        assert outbox.clear("phasewatch/n/", but="new") == 2
        assert [(one.topic, one.payload, one.retain) for one in outbox.pending(9)] == [
            ("phasewatch/n/g/metrics", b"", 1), ("phasewatch/n/i/metrics", b"", 1)
        ]  # fmt: skip
        assert outbox.retained() == [("phasewatch/n/h/metrics", b"card")]
        assert outbox.clear("phasewatch/n/", but="new") == 0
        assert outbox.depth == 2


def test_what_is_set_aside_is_told_once_bounded_and_its_own_notice_is_not_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.deliver.store.ASIDE", 5)
    with opened(tmp_path / "o") as outbox:
        for mark in range(8):
            numbered_event(outbox, mark)
        all_of_them = outbox.pending(99)
        outbox.set_aside(all_of_them, {one.seq: "Not authorized" for one in all_of_them})
        assert len(outbox.aside()) == 5
        refused, dropped = outbox.losses()
        assert (refused.cause, refused.ranges, refused.why) == ("refused", [(1, 8)], "Not authorized")
        assert (dropped.cause, dropped.ranges) == ("outbox_full", [(1, 3)])
        for loss in (refused, dropped):
            outbox.tell(loss, told(loss, outbox.clock()))
        gaps = outbox.pending(99)
        assert [one.topic for one in gaps] == ["phasewatch/n/g/gap"] * 2
        outbox.set_aside(gaps, {one.seq: "Not authorized" for one in gaps})
        assert outbox.losses() == []
        assert {one.topic for one in outbox.aside()} == {"phasewatch/n/g/window"}  # no notice pushed one out
        assert outbox.drop_aside() == 5
        assert {loss.cause for loss in outbox.losses()} == {"dropped_by_hand"}


def test_what_is_lost_while_a_loss_is_told_is_told_too(tmp_path: Path) -> None:
    with opened(tmp_path / "o", Bounds(events=3)) as outbox:
        for mark in range(5):
            numbered_event(outbox, mark)
        (loss,) = outbox.losses()
        assert loss.ranges == [(1, 2)]
        numbered_event(outbox, 5)  # meanwhile
        outbox.tell(loss, told(loss, outbox.clock()))  # at the bound: one more goes
        (rest,) = outbox.losses()
        waits = sorted(number for _, number in waiting_numbers(outbox))
        lost = [number for first, last in rest.ranges or [] for number in range(first, last + 1)]
        assert sorted([1, 2, *lost, *waits]) == list(range(1, 8))


def waiting_numbers(outbox: Outbox) -> list[tuple[str, int]]:
    found = [json.loads(message.payload) for message in outbox.pending(10_000)]
    return [(one["type"], int(one["sequence"])) for one in found]


def test_a_file_that_is_torn_where_nobody_looked_is_kept_aside_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.deliver.damage._LOOKED_THROUGH", 0)
    tear(tmp_path / "o")
    with opened(tmp_path / "o") as outbox:
        numbered_event(outbox, 1)
        assert [loss.cause for loss in outbox.losses()] == ["outbox_damaged"]
    assert list(tmp_path.glob("o.damaged-*"))
