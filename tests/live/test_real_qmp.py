"""The qmp collector on real QEMUs that have not booted anything: disks, CD-ROMs, vCPUs that are plugged in, ends."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.telemetry.rows import QmpRow
from edge.collectors.base import SourceError
from edge.collectors.find import Known, Where
from edge.collectors.proc import ProcCollector
from edge.collectors.qmp import QmpCollector
from tests.brokers import program
from tests.live.lab import ask, end, until

pytestmark = [pytest.mark.system]


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[Any]]]:
    """A function that starts one, with two sockets: for the collector, and for the test."""
    running: list[subprocess.Popen[Any]] = []

    def start(*options: str) -> subprocess.Popen[Any]:
        command = [str(program("qemu-system-x86_64")), "-S", "-M", "q35", "-accel", "tcg", "-m", "32", "-nodefaults"]
        command += ["-no-user-config", "-display", "none", "-smp", "1,maxcpus=4", "-cpu", "qemu64"]
        for name in ("qmp", "control"):
            command += ["-qmp", f"unix:{tmp_path}/{name},server=on,wait=off"]
        running.append(subprocess.Popen([*command, *options]))
        until(lambda: (tmp_path / "control").exists(), 60, "QEMU's sockets")
        return running[-1]

    yield start
    for process in running:
        end(process)


def disk(folder: Path, name: str, *options: str) -> list[str]:
    (folder / name).write_bytes(bytes(1 << 20))
    return ["-drive", f"file={folder / name},if=none,id={name},format=raw{''.join(options)}"]


def opened(folder: Path, known: Known | None = None) -> QmpCollector:
    collector = QmpCollector(folder / "qmp", known or Known(), "g")
    collector.open()
    return collector


def row_of(collector: QmpCollector) -> QmpRow:
    (taken,) = collector.read()
    assert isinstance(taken.row, QmpRow)
    return taken.row


def test_disks_count_and_cd_roms_and_empty_drives_do_not(
    tmp_path: Path, qemu: Callable[..., subprocess.Popen[Any]]
) -> None:
    qemu(
        *disk(tmp_path, "one"), "-device", "virtio-blk-pci,drive=one",
        *disk(tmp_path, "two"), "-device", "virtio-blk-pci,drive=two",
        *disk(tmp_path, "cd", ",media=cdrom"), "-device", "ide-cd,drive=cd",
        "-device", "ide-cd,bus=ide.1",
    )  # fmt: skip
    collector = opened(tmp_path)
    assert len(collector._disks) == 2
    row = row_of(collector)
    assert (row.status, row.rd_bytes, row.wr_operations) == ("prelaunch", 0, 0)
    assert row.idle_time_ns is None  # nothing was ever asked of them
    assert collector.notes == {}
    collector.close()


def test_a_guest_without_a_disk_is_not_observed_there(
    tmp_path: Path, qemu: Callable[..., subprocess.Popen[Any]]
) -> None:
    qemu("-device", "ide-cd,bus=ide.0")
    collector = opened(tmp_path)
    assert row_of(collector).rd_bytes is None
    assert "only empty drives" in collector.notes["disks"]
    collector.close()


def test_a_vcpu_that_is_plugged_in_is_seen_by_proc(
    tmp_path: Path, qemu: Callable[..., subprocess.Popen[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.collectors.qmp._ANEW_S", 0.0)
    process = qemu("-accel", "tcg,thread=multi")
    known = Known()
    collector = opened(tmp_path, known)
    proc = ProcCollector(Where(), known, None)
    proc.open()
    proc.read()
    assert (known.pid, len(known.vcpu_threads), len(proc._threads)) == (process.pid, 1, 1)
    driver = "qemu64-x86_64-cpu"
    ask(tmp_path / "control", "device_add", driver=driver, id="more", **{"socket-id": 0, "core-id": 1, "thread-id": 0})
    collector.read()
    proc.read()
    assert (len(known.vcpu_threads), len(proc._threads)) == (2, 2)
    proc.close()
    collector.close()


def test_what_happens_to_a_guest_is_counted_up_to_its_last_word(
    tmp_path: Path, qemu: Callable[..., subprocess.Popen[Any]]
) -> None:
    process = qemu()
    collector = opened(tmp_path)
    for command in ("cont", "stop", "cont", "system_powerdown", "system_reset"):
        ask(tmp_path / "control", command)
    collector.read()
    ask(tmp_path / "control", "quit")
    process.wait(60)
    with pytest.raises(SourceError):
        for _ in range(5):
            collector.read()
    assert {"STOP", "RESUME", "POWERDOWN", "RESET", "SHUTDOWN"} <= set(collector.counts)
    collector.close()


def test_a_socket_that_the_agent_has_to_share_is_told(
    tmp_path: Path, qemu: Callable[..., subprocess.Popen[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.collectors.monitor.ANSWER_S", 0.5)
    qemu()
    first = opened(tmp_path)
    with pytest.raises(SourceError, match="another program has this socket"):
        opened(tmp_path)
    first.read()  # and the first one goes on
    first.close()
    opened(tmp_path).close()
