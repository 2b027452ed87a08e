"""The qmp collector, over a server that answers as QEMU does and as it does not (tests/live has the real one)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.telemetry.rows import QmpRow
from edge.collectors import monitor
from edge.collectors.base import SourceError
from edge.collectors.find import Known
from edge.collectors.qmp import READ_ONLY, QmpCollector, disks, totals
from tests.edge.fake_qemu import DISK, FakeQemu


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[FakeQemu]:
    server = FakeQemu(tmp_path / "qmp")
    yield server
    server.close()


@pytest.fixture
def collector(tmp_path: Path, qemu: FakeQemu) -> Iterator[QmpCollector]:
    one = QmpCollector(tmp_path / "qmp", Known(), "g")
    yield one
    one.close()


def row_of(collector: QmpCollector) -> QmpRow:
    (taken,) = collector.read()
    assert isinstance(taken.row, QmpRow)
    return taken.row


def test_a_poll_is_a_row_and_tells_process_and_threads(collector: QmpCollector) -> None:
    import os

    collector.open()
    row = row_of(collector)
    assert {name: getattr(row, name) for name in DISK} == DISK
    assert row.status == "running"
    assert collector._known == Known(pid=os.getpid(), vcpu_threads=(5, 7))
    collector.close()
    assert collector._known == Known()


def test_only_commands_that_change_nothing_are_ever_sent(collector: QmpCollector, qemu: FakeQemu) -> None:
    collector.open()
    for _ in range(3):
        collector.read()
    assert set(qemu.asked) == READ_ONLY
    assert all(command == "qmp_capabilities" or command.startswith("query-") for command in READ_ONLY)
    with pytest.raises(AssertionError, match="quit"):
        collector._monitor.ask("quit")  # type: ignore[union-attr] # it is open


def test_disks_are_summed_and_what_holds_no_medium_that_stays_is_left_out() -> None:
    def block(name: str, **more: Any) -> dict[str, Any]:
        return {"device": name, "qdev": "", "removable": False, "inserted": {"file": "x"}, **more}

    found = disks([block("a"), block("b"), block("cd", removable=True), block("empty", inserted=None)])
    stats = [{"device": name, "qdev": "", "stats": {**DISK, "idle_time_ns": idle}} for name, idle in (
        ("a", 9), ("b", 4), ("cd", 1), ("empty", 1),
    )]  # fmt: skip
    whole = totals(stats, found)
    assert whole["rd_bytes"] == 2 * DISK["rd_bytes"]
    assert whole["idle_time_ns"] == 4
    assert totals(stats, frozenset()) == dict.fromkeys(whole, None)  # no disk: not observed


@pytest.mark.parametrize("value", [-1, 1 << 63, "5", None, 1.5, True, [1]])
def test_a_figure_that_is_none_is_not_observed(value: object) -> None:
    stats = [{"device": "d", "qdev": "", "stats": {**DISK, "rd_bytes": value}}]
    whole = totals(stats, frozenset({"d|"}))
    assert whole["rd_bytes"] is None
    assert whole["wr_bytes"] == DISK["wr_bytes"]


def test_events_are_counted_and_logged_also_those_of_the_last_breath(
    collector: QmpCollector, qemu: FakeQemu, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    collector.open()
    qemu.say(b'{"event": "RESET", "data": {}}\r\n{"event": "NIC_RX_FILTER_CHANGED"}\r\n')
    collector.read()
    assert collector.counts == {"RESET": 1}
    qemu.say(b'{"event": "SHUTDOWN"}\r\n')
    qemu.hang_up()
    with pytest.raises(SourceError):
        for _ in range(3):
            collector.read()
    assert collector.counts == {"RESET": 1, "SHUTDOWN": 1}
    assert "g: QEMU says RESET" in caplog.text


def test_vcpus_that_are_plugged_in_are_noticed(
    collector: QmpCollector, qemu: FakeQemu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.collectors.qmp._ANEW_S", 0.0)
    collector.open()
    qemu.answers["query-cpus-fast"] = [{"thread-id": 1}, {"thread-id": 2}, {"thread-id": "x"}, 3]
    collector.read()
    assert collector._known.vcpu_threads == (1, 2)


def test_a_guest_without_a_disk_says_so_and_goes_on(collector: QmpCollector, qemu: FakeQemu) -> None:
    qemu.answers["query-block"] = []
    collector.open()
    assert row_of(collector).rd_bytes is None
    assert "the guest has none" in collector.notes["disks"]


def test_a_socket_that_somebody_else_has_is_told(
    collector: QmpCollector, qemu: FakeQemu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "ANSWER_S", 0.2)
    qemu.greets = False
    with pytest.raises(SourceError, match="another program has this socket") as caught:
        collector.open()
    assert caught.value.remedy == "give the agent a -qmp socket of its own"


def test_one_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file or directory"):
        QmpCollector(tmp_path / "none", Known(), "g").open()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"no JSON\n", "an answer that is no JSON object"),
        (b'{"return": "\\ud800"}\n', "an answer that is no JSON object"),
        (b"{}\n" * 5000, "1024 lines and no answer"),
        (b"[1]\n", "an answer that is no JSON object"),
        (b"[" * 100_000 + b"\n", "an answer that is no JSON object"),
        (b"x" * (monitor.MOST + (1 << 17)), "an answer (over|that is no JSON)"),  # ours may come amid it
    ],
)
def test_an_answer_that_is_none_is_refused(collector: QmpCollector, qemu: FakeQemu, said: bytes, message: str) -> None:
    collector.open()
    threading.Thread(target=qemu.say, args=(said,), daemon=True).start()
    with pytest.raises(SourceError, match=message):
        for _ in range(100):
            collector.read()


def test_one_that_does_not_answer_is_given_up(
    collector: QmpCollector, qemu: FakeQemu, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector.open()
    monkeypatch.setattr(monitor, "ANSWER_S", 0.2)
    qemu.answers["query-status"] = None
    with pytest.raises(SourceError, match="refused"):
        collector.read()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        collector._monitor._line(time.monotonic() + 0.2)  # type: ignore[union-attr] # it is open
    assert time.monotonic() - began < 5
