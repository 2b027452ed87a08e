"""What runs in a guest, run here: the static program, the script, and files as QEMU's guest agent gives them."""

from __future__ import annotations

import base64
import itertools
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.telemetry.rows import GuestRow
from edge.collectors.base import SourceError
from edge.collectors.guest_agent import READ_ONLY, GuestAgent, row_of
from edge.collectors.guest_feed import Said
from tests.live.lab import ROOT

GUEST = ROOT / "firmware-config" / "guest"


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("feed") / "feed"
    command = ["cc", "-static", "-Os", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(GUEST / "feed.c")]
    subprocess.run(command, check=True)
    return program


def lines_of(command: list[str], folder: Path, seconds: float) -> list[Said]:
    """What a program writes to its port, here a pipe with a name."""
    port = folder / "port"
    os.mkfifo(port)
    reader = os.open(port, os.O_RDONLY | os.O_NONBLOCK)
    with subprocess.Popen([*command, str(port)]) as process:
        data, until = b"", time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.02)
            try:
                data += os.read(reader, 1 << 16)
            except BlockingIOError:
                continue
        process.kill()
    os.close(reader)
    return [msgspec.json.decode(line, type=Said) for line in data.split(b"\n")[:-1]]


def ticks(field: int) -> int:
    return int(Path("/proc/stat").read_text().split()[field])


def test_the_feed_says_ten_times_a_second_what_proc_says(feed: Path, tmp_path: Path) -> None:
    before = ticks(4)
    said = lines_of([str(feed)], tmp_path, 1.5)
    assert 5 <= len(said) <= 16
    gaps = [b.g_mono_ns - a.g_mono_ns for a, b in itertools.pairwise(said)]
    assert all(round(gap / 1e8) >= 1 for gap in gaps)
    last = said[-1]
    assert last.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert abs(last.g_wall_ns - time.time_ns()) < 60 * 10**9
    assert last.cpu_idle is not None
    assert before <= last.cpu_idle <= ticks(4)
    assert all(getattr(last, name) is not None for name in Said.__struct_fields__)


def test_the_feed_without_its_port_says_so(feed: Path) -> None:
    done = subprocess.run([feed], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "feed: no port org.phasewatch.feed.0; expected -device virtserialport,name=" in done.stderr


def test_the_feed_goes_on_where_nobody_reads(feed: Path, tmp_path: Path) -> None:
    port = tmp_path / "port"
    os.mkfifo(port)
    reader = os.open(port, os.O_RDONLY | os.O_NONBLOCK)
    with subprocess.Popen([feed, str(port)]) as process:
        time.sleep(0.5)
        stuck = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11])
        assert process.poll() is None
        assert stuck < 50  # it does not spin
        process.kill()
    os.close(reader)


def test_the_script_says_the_same_in_its_own_time(tmp_path: Path) -> None:
    said = lines_of(["sh", str(GUEST / "feed.sh")], tmp_path, 2.5)
    assert said
    last = said[-1]
    assert last.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert abs(last.g_mono_ns / 1e9 - uptime) < 30
    assert all(getattr(last, name) is not None for name in Said.__struct_fields__)


class FakeAgent:
    """QEMU's guest agent, whose guest is this machine: real files, by handle."""

    def __init__(self, path: Path) -> None:
        self.asked: list[dict[str, Any]] = []
        self.refuses = ""
        self.time: object = None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as file:
                files: dict[int, Path] = {}
                for line in file:
                    asked = json.loads(line)
                    self.asked.append(asked)
                    file.write(json.dumps(self._answer(asked, files)).encode() + b"\n")
                    file.flush()

    def _answer(self, asked: dict[str, Any], files: dict[int, Path]) -> dict[str, Any]:
        command, said = asked["execute"], asked.get("arguments", {})
        if command == self.refuses:
            return {"error": {"class": "CommandNotFound", "desc": "disabled"}}
        if command == "guest-sync":
            return {"return": said["id"]}
        if command == "guest-get-time":
            return {"return": self.time or time.time_ns()}
        if command == "guest-file-open":
            assert said["mode"] == "r"
            files[len(files) + 1000] = Path(said["path"])
            return {"return": len(files) + 999}
        if command == "guest-file-read":
            data = files[said["handle"]].read_bytes()[: said["count"]]
            return {"return": {"count": len(data), "buf-b64": base64.b64encode(data).decode(), "eof": True}}
        return {"return": {}}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[FakeAgent]:
    one = FakeAgent(tmp_path / "qga")
    yield one
    one.close()


def test_the_guest_agents_files_give_the_same_row_as_the_feed(agent: FakeAgent, feed: Path, tmp_path: Path) -> None:
    collector = GuestAgent(tmp_path / "qga")
    collector.open()
    (taken,) = collector.read()
    collector.close()
    row = taken.row
    assert isinstance(row, GuestRow)
    said = lines_of([str(feed)], tmp_path, 0.6)[-1]
    assert row.boot_id == said.boot_id
    for name in ("cpu_user", "cpu_system", "cpu_idle", "ctxt", "intr", "wr_sectors", "rd_sectors", "tcp_active_opens"):
        ours, theirs = getattr(row, name), getattr(said, name)
        assert ours is not None
        assert ours <= theirs <= ours * 1.05 + 10_000, name
    assert {one["execute"] for one in agent.asked} <= READ_ONLY


@pytest.mark.parametrize("said", [True, -1, 1 << 70, "now", [1]])
def test_a_guest_agents_clock_that_is_none_is_zero(agent: FakeAgent, tmp_path: Path, said: object) -> None:
    agent.time = said
    collector = GuestAgent(tmp_path / "qga")
    collector.open()
    row = collector.read()[0].row
    assert isinstance(row, GuestRow)
    assert (type(row.g_wall_ns), row.g_wall_ns) == (int, 0)
    collector.close()


@pytest.mark.parametrize("refused", ["guest-file-open", "guest-file-read"])
def test_a_guest_agent_that_refuses_says_what_to_allow(agent: FakeAgent, tmp_path: Path, refused: str) -> None:
    agent.refuses = refused
    collector = GuestAgent(tmp_path / "qga")
    with pytest.raises(SourceError, match="refused: .*disabled") as caught:
        collector.open()
    assert "allow guest-file-open and guest-file-read" in caught.value.remedy


def test_files_that_say_nonsense_give_nulls() -> None:
    nothing = dict.fromkeys(("stat", "uptime", "memory", "disks", "tcp"), "")
    row = row_of(nothing, 0, "b", 1, 2)
    assert row.cpu_user is row.ctxt is row.mem_free_kb is row.wr_sectors is row.tcp_active_opens is None
    odd = {**nothing, "stat": "cpu x y\nctxt -5\nintr " + "9" * 30, "uptime": "later", "memory": "MemFree: lots kB"}
    row = row_of(odd, 0, "b", 1, 2)
    assert (row.cpu_user, row.ctxt, row.intr, row.mem_free_kb, row.g_mono_ns) == (None, None, None, None, 0)
