"""The outbox: nothing is lost, nothing is stored twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import BusyError, ConfigError, StorageError
from edge.deliver.outbox import Outbox, opened


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
    with opened(tmp_path / "o", max_events=3) as outbox:
        put(outbox, 0)
        put(outbox, 1, qos=0)
        for number in (2, 3, 4):
            put(outbox, number)
        assert [message.payload for message in outbox.pending(9)] == [b"2", b"3", b"4"]
        assert outbox.dropped == 2
    with opened(tmp_path / "o", max_events=2) as outbox:
        assert outbox.dropped == 2  # it is not forgotten
        put(outbox, 5)
        assert [message.payload for message in outbox.pending(9)] == [b"4", b"5"]
        assert outbox.dropped == 4


def test_outbox_counts_what_it_drops_without_growing(tmp_path: Path) -> None:
    with opened(tmp_path / "o", max_events=3) as outbox:
        outbox._db.execute("PRAGMA synchronous = OFF")  # for the test's own speed
        for number in range(1000, 1100):
            put(outbox, number)
        pages = outbox._db.execute("PRAGMA page_count").fetchone()
        for number in range(1100, 4000):
            put(outbox, number)
        assert outbox._db.execute("PRAGMA page_count").fetchone() == pages
        assert outbox.dropped == 2997
    with opened(tmp_path / "o", max_events=3) as outbox:
        assert outbox.dropped == 2997


def test_outbox_folds_the_counts_of_an_older_file_into_one(tmp_path: Path) -> None:
    with opened(tmp_path / "o") as outbox:
        put(outbox, 1)
        outbox._db.execute("DELETE FROM dropped")  # as older versions left it: a row per drop
        count = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 4000)"
        outbox._db.execute(f"INSERT INTO dropped {count} SELECT 1 FROM n")
    for dropped in (4000, 4001):
        with opened(tmp_path / "o", max_events=1) as outbox:
            assert outbox._db.execute("SELECT count FROM dropped").fetchall() == [(dropped,)]
            put(outbox, dropped)


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


def test_opened_refuses_a_file_that_is_no_outbox(tmp_path: Path) -> None:
    (tmp_path / "o").write_bytes(b"hello, this is not a database at all" * 100)
    with (
        pytest.raises(StorageError, match="file is not a database; expected an outbox that can be written"),
        opened(tmp_path / "o"),
    ):
        pass
