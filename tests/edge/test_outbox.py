"""The outbox: nothing is lost, nothing is stored twice."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import BusyError, ConfigError
from edge.deliver.outbox import Outbox, opened
from edge.deliver.rows import Bounds


def put(outbox: Outbox, number: int, *, retain: bool = False, qos: int = 1) -> None:
    outbox.put(
        source="/s", event_id=str(number), topic=f"t/{number % 3}", qos=qos, retain=retain, payload=b"%d" % number
    )


def test_outbox_gives_events_in_order_and_forgets_only_what_was_removed(tmp_path: Path) -> None:
    with opened(tmp_path / "o") as outbox:
        for number in range(10):
            put(outbox, number)
        first = outbox.pending(4)
        assert [message.payload for message in first] == [b"0", b"1", b"2", b"3"]
        outbox.remove(first)
        assert outbox.depth == 6
        assert outbox.pending(1)[0].payload == b"4"


def test_outbox_stores_a_waiting_event_once(tmp_path: Path) -> None:
    with opened(tmp_path / "o") as outbox:
        put(outbox, 1)
        put(outbox, 1)
        assert outbox.depth == 1
        outbox.remove(outbox.pending(1))
        put(outbox, 1)  # sent before, and said again: that is a resend
        assert outbox.depth == 1


def test_outbox_survives_a_process_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from edge.deliver.outbox import Outbox\n"
        "o = Outbox(Path(sys.argv[1]))\n"
        "for n in range(100): o.put(source='s', event_id=str(n), topic='t', qos=1, retain=False, payload=b'x')\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path / "o")], check=False).returncode == -9
    with opened(tmp_path / "o") as outbox:
        assert outbox.depth == 100


def test_outbox_at_its_limit_drops_perf_first_then_the_oldest_and_counts(tmp_path: Path) -> None:
    with opened(tmp_path / "o", Bounds(events=3)) as outbox:
        put(outbox, 0)
        put(outbox, 1, qos=0)
        for number in (2, 3, 4):
            put(outbox, number)
        assert [message.payload for message in outbox.pending(9)] == [b"2", b"3", b"4"]
        assert outbox.dropped == 2
    with opened(tmp_path / "o", Bounds(events=2)) as outbox:
        assert outbox.dropped == 2  # it is not forgotten
        put(outbox, 5)
        assert [message.payload for message in outbox.pending(9)] == [b"4", b"5"]
        assert outbox.dropped == 4


def test_outbox_counts_what_it_drops_without_growing(tmp_path: Path) -> None:
    with opened(tmp_path / "o", Bounds(events=3)) as outbox:
        outbox._db.execute("PRAGMA synchronous = OFF")  # for the test's own speed
        for number in range(1000, 1100):
            put(outbox, number)
        pages = outbox._db.execute("PRAGMA page_count").fetchone()
        for number in range(1100, 4000):
            put(outbox, number)
        assert outbox._db.execute("PRAGMA page_count").fetchone() == pages
        assert outbox.dropped == 2997
    with opened(tmp_path / "o", Bounds(events=3)) as outbox:
        assert outbox.dropped == 2997


OLD = """
CREATE TABLE queue (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, id TEXT NOT NULL, topic TEXT NOT NULL,
    qos INTEGER NOT NULL, retain INTEGER NOT NULL, payload BLOB NOT NULL, since_ns INTEGER NOT NULL,
    UNIQUE (source, id));
CREATE INDEX least ON queue (qos, seq);
CREATE TABLE dropped (count INTEGER NOT NULL);
CREATE TABLE retained (topic TEXT PRIMARY KEY, payload BLOB NOT NULL);
INSERT INTO queue (source, id, topic, qos, retain, payload, since_ns) VALUES ('/s', '1', 't/1', 1, 0, x'6f6e65', 5);
INSERT INTO retained VALUES ('t/0', x'63617264');
INSERT INTO dropped VALUES (2);
INSERT INTO dropped VALUES (3);
"""


def test_outbox_goes_on_with_the_file_of_an_older_version(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "o")) as db:  # as version 0.2.0 wrote it, with a row per drop
        db.executescript(OLD)
    with opened(tmp_path / "o") as outbox:
        put(outbox, 2)
        assert [message.payload for message in outbox.pending(9)] == [b"one", b"2"]
        assert (outbox.depth, outbox.dropped, outbox.retained()) == (2, 5, [("t/0", b"card")])
        assert outbox.aside() == []
    with opened(tmp_path / "o") as outbox:
        assert (outbox.depth, outbox.dropped) == (2, 5)


def test_outbox_remembers_the_last_retained_payload_of_a_topic(tmp_path: Path) -> None:
    with opened(tmp_path / "o") as outbox:
        for number in (0, 3, 1):
            put(outbox, number, retain=True)
        put(outbox, 4)
        outbox.remove(outbox.pending(9))
    with opened(tmp_path / "o") as outbox:
        assert outbox.retained() == [("t/0", b"3"), ("t/1", b"1")]


def test_opened_refuses_a_second_process(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, edge.deliver.outbox\nedge.deliver.outbox.opened(pathlib.Path(sys.argv[1])).__enter__()"
    )
    with opened(tmp_path / "o"):
        done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "o")], capture_output=True, check=False)
    assert b"another process works here; expected to be alone" in done.stderr
    with pytest.raises(BusyError), opened(tmp_path / "p"), opened(tmp_path / "p"):
        pass


def test_retained_leaves_out_what_waits_and_other_nodes(tmp_path: Path) -> None:
    with opened(tmp_path / "o") as outbox:
        put(outbox, 0, retain=True)
        assert outbox.retained() == []
        outbox.remove(outbox.pending(9))
        assert outbox.retained("t/") == [("t/0", b"0")]
        assert outbox.retained("u/") == []


def test_opened_refuses_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a folder; expected a file for the outbox"), opened(tmp_path):
        pass
