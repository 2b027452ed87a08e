"""What a guest writes is bounded and never trusted; what is honest in it becomes rows."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.telemetry.rows import GuestRow
from edge.collectors.base import SourceError, Taken
from edge.collectors.guest_feed import GuestFeed, Said
from edge.collectors.lines import MOST_LINE, MOST_READ, Heard, Lines, Rate


def line(mono_ns: int = 0, **more: object) -> bytes:
    said = Said(g_wall_ns=1, g_mono_ns=mono_ns, boot_id="b", ctxt=5)
    return msgspec.json.encode({**msgspec.structs.asdict(said), **more}) + b"\n"


class Port:
    """QEMU's end of a virtio-serial port."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self.connection: socket.socket | None = None

    def accept(self) -> socket.socket:
        self.connection, _ = self._listener.accept()
        return self.connection

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self._listener.close()


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Port]:
    one = Port(tmp_path / "feed")
    yield one
    one.close()


@pytest.fixture
def feed(tmp_path: Path, port: Port) -> Iterator[GuestFeed]:
    one = GuestFeed(tmp_path / "feed")
    one.open()
    port.accept()
    yield one
    one.close()


def test_an_honest_line_is_a_row_of_the_time_of_its_receipt(feed: GuestFeed, port: Port) -> None:
    assert port.connection is not None
    before = time.time_ns()
    port.connection.sendall(line(7))
    (taken,) = feed.read()
    assert isinstance(taken.row, GuestRow)
    assert before <= taken.row.t_wall_ns <= time.time_ns()
    assert (taken.row.g_mono_ns, taken.row.ctxt, taken.row.intr) == (7, 5, None)


@pytest.mark.parametrize(
    "garbage",
    [b"\n", b"no JSON\n", b"[]\n", line(ctxt=-1), line(ctxt=1 << 63), line(other=1), line(boot_id="x" * 65), b"\xff\n",
     b"[" * 4000 + b"\n", b'{"g_wall_ns":1}\n'],
)  # fmt: skip
def test_a_line_that_is_no_row_is_counted_and_no_more(feed: GuestFeed, port: Port, garbage: bytes) -> None:
    assert port.connection is not None
    port.connection.sendall(garbage + line())
    assert len(feed.read()) == 1
    assert feed.counts == {"garbage": 1}


def test_a_megabyte_without_a_line_break_is_one_piece_of_garbage(
    feed: GuestFeed, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.collectors.guest_feed._PAUSE_S", 0)
    assert port.connection is not None
    port.connection.setblocking(False)
    sent = 0
    found: list[Taken] = []
    data = b"x" * (1 << 20) + b"\n" + line()
    while sent < len(data) or not found:
        with contextlib.suppress(BlockingIOError):
            sent += port.connection.send(data[sent:])
        found += feed.read()
    assert len(found) == 1
    assert feed.counts == {"garbage": 1}


def test_a_flood_is_read_at_a_bounded_rate_and_gives_no_more_rows_than_an_honest_guest(
    feed: GuestFeed, port: Port
) -> None:
    assert port.connection is not None
    port.connection.setblocking(False)
    some, began = line() * 200, time.monotonic()
    found: list[Taken] = []
    reads = 0
    while time.monotonic() - began < 1.5:
        try:
            while True:
                port.connection.send(some)
        except BlockingIOError:
            pass
        found += feed.read()
        reads += 1
    assert reads <= 60  # without a bound they are thousands
    assert len(found) <= 4 + 12 * 2
    assert feed.counts["flooded"] > 100
    assert max(len(some), MOST_READ) < 1 << 16


def test_what_had_piled_up_before_it_was_read_is_thrown_away(tmp_path: Path, port: Port) -> None:
    feed = GuestFeed(tmp_path / "feed")
    import threading

    def pile_up() -> None:
        port.accept().sendall(b"".join(line(i * 100_000_000) for i in range(50)))

    thread = threading.Thread(target=pile_up)
    thread.start()
    feed.open()
    thread.join()
    assert feed.counts == {"stale": 50}
    assert port.connection is not None
    port.connection.sendall(line(5_000_000_000))
    assert len(feed.read()) == 1
    feed.close()


def test_lines_that_waited_are_stale_and_the_guests_clock_may_begin_anew(
    feed: GuestFeed, port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert port.connection is not None

    def read(*lines: bytes) -> list[Taken]:
        port.connection.sendall(b"".join(lines))  # type: ignore[union-attr] # checked above
        return list(feed.read())

    second = 1_000_000_000
    assert len(read(line(100 * second))) == 1
    assert read(line(98 * second)) == []  # two seconds behind the one before
    assert feed.counts == {"stale": 1}
    assert len(read(line(3 * second, boot_id="another"))) == 1  # a reboot is no delay


def test_a_guest_that_hangs_up_is_gone(feed: GuestFeed, port: Port) -> None:
    assert port.connection is not None
    port.connection.close()
    with pytest.raises(SourceError, match="connection closed by QEMU"):
        feed.read()


@given(st.lists(st.binary(max_size=40), max_size=30))
def test_lines_are_whole_however_they_are_cut(pieces: list[bytes]) -> None:
    lines, found = Lines(Heard()), []
    for piece in pieces:
        found += lines.take(piece)
    assert found == b"".join(pieces).split(b"\n")[:-1]


@given(st.lists(st.integers(1, 3000), max_size=12), st.lists(st.booleans(), max_size=12))
def test_a_long_line_is_dropped_to_its_end_and_counted_once(sizes: list[int], ends: list[bool]) -> None:
    heard = Heard()
    lines, data = Lines(heard), b""
    found = []
    for size, end in zip(sizes, ends, strict=False):
        piece = b"x" * size + (b"\n" if end else b"")
        data += piece
        found += lines.take(piece)
    *whole, rest = data.split(b"\n")
    assert found == [one for one in whole if len(one) <= MOST_LINE]
    assert heard.garbage == sum(len(one) > MOST_LINE for one in whole) + (len(rest) > MOST_LINE)


def test_a_rate_lets_so_many_pass_and_a_few_at_once() -> None:
    rate = Rate(8, 3)
    assert [rate.spend(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert [rate.spend(100.125) for _ in range(2)] == [True, False]
