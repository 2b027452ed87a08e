"""The proc collector on real processes: what it reads, what it cannot read, and how it finds its guest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.telemetry.rows import ProcRow
from edge.collectors.base import SourceError
from edge.collectors.find import Known, Where
from edge.collectors.kept import Kept
from edge.collectors.proc import ProcCollector

BUSY = """
import threading, time
threading.Thread(target=time.sleep, args=(99,), daemon=True).start()
print(1, flush=True)
while True: pass
"""


@pytest.fixture
def busy() -> Iterator[int]:
    """A process that burns a core, with a second thread."""
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def opened(where: Where, known: Known | None = None, tap: str | None = None) -> ProcCollector:
    collector = ProcCollector(where, known or Known(), tap)
    collector.open()
    return collector


def by_pidfile(folder: Path, pid: int) -> Where:
    (folder / "pid").write_text(f"{pid}\n")
    return Where(pidfile=folder / "pid")


def row_of(collector: ProcCollector) -> ProcRow:
    (taken,) = collector.read()
    assert isinstance(taken.row, ProcRow)
    return taken.row


def test_rows_agree_with_what_proc_says_when_it_is_read_anew(tmp_path: Path, busy: int) -> None:
    tids = tuple(sorted(int(one) for one in os.listdir(f"/proc/{busy}/task")))  # noqa: PTH208 - no paths wanted
    collector = opened(by_pidfile(tmp_path, busy), Known(pid=busy, vcpu_threads=tids))
    row = row_of(collector)
    stat = Path(f"/proc/{busy}/stat").read_text().rpartition(")")[2].split()
    assert (row.pid, row.starttime, row.num_threads) == (busy, int(stat[19]), int(stat[17]))
    assert row.rss_bytes == int(stat[21]) * os.sysconf("SC_PAGE_SIZE")
    assert row.utime is not None
    assert abs(row.utime - int(stat[11])) < 50
    io = dict(line.split(": ") for line in Path(f"/proc/{busy}/io").read_text().splitlines())
    assert row.read_bytes == int(io["read_bytes"])
    time.sleep(0.3)
    later = row_of(collector)
    assert later.vcpu_run_ns is not None
    assert row.vcpu_run_ns is not None
    assert later.vcpu_run_ns > row.vcpu_run_ns + 10_000_000
    assert later.main_run_ns is not None
    collector.close()


def test_a_name_in_parentheses_with_spaces_and_brackets_is_read_past(tmp_path: Path) -> None:
    odd = tmp_path / "a) S (b"
    odd.symlink_to(sys.executable)
    with subprocess.Popen([str(odd), "-c", "import time; time.sleep(99)"]) as process:
        time.sleep(0.2)
        assert row_of(opened(by_pidfile(tmp_path, process.pid))).starttime > 0
        process.kill()


def test_a_process_that_ends_is_gone_also_while_nobody_has_waited_for_it(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(99)"])
    collector = opened(by_pidfile(tmp_path, process.pid))
    collector.read()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie
    with pytest.raises(SourceError, match=f"process {process.pid} has ended"):
        collector.read()
    process.wait()
    with pytest.raises(SourceError, match="has ended"):
        collector.read()
    collector.close()


def test_vcpu_threads_follow_what_qmp_says(tmp_path: Path, busy: int) -> None:
    known = Known(pid=busy)
    collector = opened(by_pidfile(tmp_path, busy), known)
    assert row_of(collector).vcpu_run_ns is None
    assert "QMP tells no vCPU threads" in collector.notes["vcpu"]
    known.vcpu_threads = (busy,)
    assert row_of(collector).vcpu_run_ns is not None
    assert "vcpu" not in collector.notes
    known.vcpu_threads = (busy, 1 << 22)  # one that went before we came
    assert row_of(collector).vcpu_run_ns is None
    known.pid = 1  # QMP is of another process: its threads are not this one's
    assert row_of(collector).vcpu_run_ns is None
    collector.close()


def test_a_guest_is_found_by_its_name(tmp_path: Path) -> None:
    qemu = tmp_path / "qemu-system-test"
    qemu.symlink_to("/bin/sleep")
    with subprocess.Popen(
        [
            "/bin/sh",
            "-c",
            f'exec -a "{qemu}" {sys.executable} -c "import time; time.sleep(99)" -name guest=cam,debug=on',
        ],
        executable="/bin/bash",
    ) as process:
        time.sleep(0.3)
        assert Where(name="cam").pid(Known()) == process.pid
        with pytest.raises(SourceError, match="no process is a QEMU with -name other"):
            Where(name="other").pid(Known())
        process.kill()


@pytest.mark.parametrize("text", ["", "no number", "0", "-5", "1" * 30])
def test_a_pidfile_without_a_process_id_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text)
    with pytest.raises(SourceError, match=r"pid: no process id"):
        Where(pidfile=tmp_path / "pid").pid(Known())


def test_a_guest_is_found_by_its_libvirt_domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.collectors.find.LIBVIRT", tmp_path)
    (tmp_path / "cam.pid").write_text(f"{os.getpid()}\n")
    assert Where(libvirt="cam").pid(Known()) == os.getpid()


def test_what_cannot_be_found_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file or directory"):
        Where(pidfile=tmp_path / "none").pid(Known())
    with pytest.raises(SourceError, match="QMP is not connected"):
        Where().pid(Known())
    with pytest.raises(SourceError, match=r"domain\.pid: No such file"):
        Where(libvirt="domain").pid(Known())
    with pytest.raises(SourceError, match="process 4194304: No such file or directory"):
        opened(by_pidfile(tmp_path, 1 << 22))


def test_the_loopbacks_counters_stand_for_a_taps_and_one_that_is_not_there_is_null(tmp_path: Path, busy: int) -> None:
    collector = opened(by_pidfile(tmp_path, busy), tap="lo")
    assert row_of(collector).tap_rx_packets is not None
    assert "tap" not in collector.notes
    collector.close()
    collector = opened(by_pidfile(tmp_path, busy), tap="tap-not-there")
    assert row_of(collector).tap_rx_packets is None
    assert collector.notes["tap"] == "no interface tap-not-there where the guest runs"
    collector.close()


def test_kernel_files_of_any_length_are_read_whole(tmp_path: Path) -> None:
    for size in (0, 1, 2048, 4096, 5000, 20_000):
        (tmp_path / "file").write_bytes(os.urandom(size))
        kept = Kept(tmp_path / "file")
        assert kept.read() == (tmp_path / "file").read_bytes()
        kept.close()


DOCTOR = """
import sys
from pathlib import Path
from edge.collectors.find import Known, Where
from edge.collectors.proc import ProcCollector
pid = int(sys.argv[1])
one = ProcCollector(Where(pidfile=Path(sys.argv[2])), Known(pid=pid, vcpu_threads=(pid,)), None)
one.open()
row = one.read()[0].row
print(row.main_run_ns, row.vcpu_run_ns, row.read_bytes, row.utime is not None, sorted(one.notes))
"""


@pytest.mark.system
def test_a_kernel_without_schedstat_masks_those_channels_and_the_rest_goes_on(tmp_path: Path, busy: int) -> None:
    """In a mount namespace of its own, an empty file lies over each schedstat: as such a kernel shows none."""
    by_pidfile(tmp_path, busy)
    hide = f"for one in /proc/{busy}/schedstat /proc/{busy}/task/*/schedstat; do mount --bind /dev/null $one; done"
    command = ["unshare", "--mount", "sh", "-c", f'{hide}; exec "$@"', "sh"]
    command += [sys.executable, "-c", DOCTOR, str(busy), str(tmp_path / "pid")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("None None ")
    assert " True " in done.stdout


def test_a_process_of_another_user_is_read_but_for_io_and_that_is_said(tmp_path: Path, busy: int) -> None:
    pid = busy if os.geteuid() == 0 else 1  # whose owner is not the one who reads
    where, (receive, send) = by_pidfile(tmp_path, pid), os.pipe()
    child = os.fork()
    if child == 0:  # whatever happens, it must not run the rest of the tests
        try:
            fd = os.open(tmp_path, os.O_RDONLY)
            os.fchdir(fd)
            os.fchmod(fd, 0o755)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            collector = opened(Where(pidfile=Path("pid")))
            row = row_of(collector)
            os.write(send, f"{row.utime is not None} {row.main_run_ns is not None} {row.read_bytes}".encode())
            os.write(send, f" {collector.notes['io']}".encode())
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as said:
        text = said.read().decode()
    os.waitpid(child, 0)
    assert where.pidfile is not None
    assert text.startswith("True True None Permission denied; run as QEMU's user, or with CAP_SYS_PTRACE")


def test_a_signal_is_not_an_end(tmp_path: Path, busy: int) -> None:
    collector = opened(by_pidfile(tmp_path, busy))
    os.kill(busy, signal.SIGSTOP)
    time.sleep(0.1)
    assert row_of(collector).state == "T"
    os.kill(busy, signal.SIGCONT)
    collector.close()
