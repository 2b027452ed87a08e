"""Events while the disk is full, or the kernel refuses to write: what passes is waited for, what lasts is named."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import StorageError
from edge.deliver.drain import Drain
from edge.deliver.outbox import HELD, Outbox, opened
from tests.edge.fake_line import Quick
from tests.edge.test_busy_store import numbers, payloads
from tests.edge.test_outbox import put

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def full(outbox: Outbox) -> None:
    (pages,) = outbox._db.execute("PRAGMA page_count").fetchone()
    outbox._db.execute(f"PRAGMA max_page_count = {pages}")


def test_events_are_stored_in_order_when_a_full_disk_has_room_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path / "o") as outbox:
        put(outbox, 0)
        full(outbox)
        for number in range(1, 1000):
            put(outbox, number)
        assert outbox.depth == 1000
        assert len(payloads(outbox)) < 1000
        outbox._db.execute("PRAGMA max_page_count = 1000000")
        outbox.flush()
        assert payloads(outbox) == numbers(0, 1000)
    assert "o: database or disk is full; events are held in memory until it has passed" in caplog.text


def test_the_drain_itself_makes_room_on_a_full_disk(tmp_path: Path) -> None:
    with opened(tmp_path / "o") as outbox:
        put(outbox, 0)
        full(outbox)
        for number in range(1, 900):
            put(outbox, number)
        publisher = Quick()
        drain = Drain(outbox, publisher, lambda _: None)
        assert drain.wait_empty(60)
        drain.stop()
    assert publisher.sent == numbers(0, 900)


def test_put_names_the_disk_when_it_stays_full(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"o: database or disk is full for .*; free some space$"),
        opened(tmp_path / "o", patience_s=0.2) as outbox,
    ):
        full(outbox)
        for number in range(2 * HELD):
            put(outbox, number)


LIMITED = """
import logging, resource, sys
from pathlib import Path
from edge.deliver.outbox import opened

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

logging.basicConfig(level=logging.INFO)
with opened(Path(sys.argv[1]), patience_s=0.2) as outbox:
    for number in range(400):
        if number == 10:
            limit(100_000)
        outbox.put(source="s", event_id=str(number), topic="t", qos=1, retain=False, payload=b"%d" % number)
    assert outbox.depth == 400
    assert len(outbox.pending(1000)) < 400
    if sys.argv[2] == "passes":
        limit(resource.RLIM_INFINITY)
        outbox.flush()
        assert [message.payload for message in outbox.pending(1000)] == [b"%d" % number for number in range(400)]
"""


def limited(path: Path, how: str) -> subprocess.CompletedProcess[str]:
    """A process whose files may not grow past a limit, so that the kernel refuses its writes."""
    return subprocess.run([sys.executable, "-c", LIMITED, str(path), how], capture_output=True, text=True, check=False)


def test_events_are_stored_when_writes_that_the_kernel_refused_are_taken_again(tmp_path: Path) -> None:
    done = limited(tmp_path / "o", "passes")
    assert done.returncode == 0, done.stderr
    assert "o: disk I/O error; events are held in memory until it has passed" in done.stderr
    assert re.search(r"o: that passed after \d+\.\d s; \d+ events were held", done.stderr)


def test_close_names_the_disk_or_card_when_the_kernel_goes_on_refusing(tmp_path: Path) -> None:
    last = limited(tmp_path / "o", "stays").stderr.splitlines()[-1]
    assert re.search(r"o: disk I/O error for .*; check the disk or card \(see dmesg\), and this user's quota$", last)


def test_a_fault_that_cannot_pass_is_said_at_once_with_its_own_remedy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StorageError, match=r"none/o: unable to open database file; .*; make its folder, and let this"):
        Outbox(tmp_path / "none" / "o")

    with (
        pytest.raises(StorageError, match=r"o: attempt to write a readonly database; .*; let this user write the file"),
        opened(tmp_path / "o") as outbox,
    ):
        outbox._db.execute("PRAGMA query_only = 1")
        put(outbox, 1)

    with (
        pytest.raises(
            StorageError, match=r"p: database disk image is malformed; .*; start again: it is then kept aside"
        ),
        opened(tmp_path / "p") as outbox,
    ):
        for number in range(1000):
            put(outbox, number)
        outbox._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = (tmp_path / "p").stat().st_size
        with (tmp_path / "p").open("r+b") as file:  # the card spoils what is there already
            file.seek(4096)
            file.write(b"\xff" * (size - 4096))
        outbox._db.execute("PRAGMA shrink_memory")
        outbox.pending(1000)
    assert "waiting" not in caplog.text
