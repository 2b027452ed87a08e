"""The QEMU process as `/proc` shows it, by files that stay open (proc(5)).

Only `io` needs privilege (QEMU's own user, or CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH). Whatever cannot be read is null
in the rows, and said once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import ClassVar

from contracts.telemetry.rows import ProcRow
from contracts.vocabulary import Source
from edge.collectors.base import Collector, SourceError, Taken, now
from edge.collectors.find import PROC, Known, Where
from edge.collectors.kept import Kept
from edge.collectors.tap import Tap

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PATIENCE_S = 3.0
_AGAIN_S = 5.0
"""A thread that could not be opened is tried again after so long."""
_NO_SCHEDSTAT = "no schedstat: this kernel counts no run time (CONFIG_SCHED_INFO)"


class ProcCollector(Collector):
    """One guest's process, ten times a second. A process that ended is gone; its successor is a new epoch."""

    source: ClassVar[Source] = "proc"
    period_s = 0.1

    def __init__(self, where: Where, known: Known, tap: str | None) -> None:
        self._where, self._known, self._tap_name = where, known, tap
        self._tap = Tap(tap)
        self._files: dict[str, Kept] = {}
        self._threads: dict[int, Kept] = {}
        self._wanted: tuple[int, ...] | None = None
        self._notes: dict[str, str] = {}

    @property
    def notes(self) -> dict[str, str]:
        """Fields that are null, and why."""
        return {**self._notes, **self._tap.notes}

    def open(self) -> None:
        """Find the process. Raises `SourceError`."""
        until = time.monotonic() + _PATIENCE_S
        while self._where.asks_qmp and self._known.pid is None and time.monotonic() < until:
            time.sleep(0.05)  # both start at once
        pid = self._where.pid(self._known)
        self._pid, self._notes = pid, {}
        folder = PROC / str(pid)
        self._follow_at = 0.0
        try:
            for name in ("stat", "status"):
                self._files[name] = Kept(folder / name)
        except OSError as error:
            self.close()
            raise SourceError(f"process {pid}: {error.strerror}", "start the guest") from None
        for name, remedy in (
            ("schedstat", _NO_SCHEDSTAT),
            ("io", "run as QEMU's user, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"),
        ):
            try:
                self._files[name] = Kept(folder / name)
                self._files[name].read()  # `io` may be opened by some who may not read it
            except OSError as error:
                self._notes[name] = f"{error.strerror}; {remedy}"
                if name in self._files:
                    self._files.pop(name).close()
        self._tap.open(folder)

    def close(self) -> None:
        """Close all files."""
        for kept in (*self._files.values(), *self._threads.values()):
            kept.close()
        self._files, self._threads, self._wanted = {}, {}, None
        self._tap.close()

    def read(self) -> Sequence[Taken]:
        """One row. Raises `SourceError` when the process has ended."""
        at = now()
        try:
            stat = self._files["stat"].read()
            status = self._files["status"].read()
        except OSError:
            raise SourceError(f"process {self._pid} has ended", "start the guest") from None
        # the name, in parentheses, may hold anything; numbers follow it
        field = stat[stat.rindex(b")") + 2 :].split()
        if field[0] in (b"Z", b"X"):
            raise SourceError(f"process {self._pid} has ended", "start the guest")
        run, _, _ = self._schedstat(self._files.get("schedstat"))
        vcpu = self._vcpus()
        io = _numbers(self._optional("io"))
        tap = self._tap.read()
        voluntary, involuntary = _switches(status)
        row = ProcRow(
            t_wall_ns=at.wall_ns,
            t_mono_ns=at.mono_ns,
            pid=self._pid,
            starttime=int(field[19]),
            state=field[0].decode("ascii", "replace"),
            utime=int(field[11]),
            stime=int(field[12]),
            minflt=int(field[7]),
            majflt=int(field[9]),
            num_threads=int(field[17]),
            rss_bytes=int(field[21]) * _PAGE,
            vol_ctxt=voluntary,
            invol_ctxt=involuntary,
            main_run_ns=run,
            vcpu_run_ns=vcpu[0],
            vcpu_wait_ns=vcpu[1],
            vcpu_slices=vcpu[2],
            read_bytes=io.get(b"read_bytes"),
            write_bytes=io.get(b"write_bytes"),
            tap_rx_bytes=tap[0],
            tap_rx_packets=tap[1],
            tap_tx_bytes=tap[2],
            tap_tx_packets=tap[3],
        )
        return [Taken(row, at)]

    def _optional(self, name: str) -> bytes:
        kept = self._files.get(name)
        try:
            return b"" if kept is None else kept.read()
        except OSError as error:  # a process that drops privileges after its start
            self._files.pop(name).close()
            self._notes[name] = f"{error.strerror} since the start"
            return b""

    def _vcpus(self) -> tuple[int | None, int | None, int | None]:
        """Run time, waiting time (ns) and time slices, summed over the threads that QMP names."""
        wanted = self._known.vcpu_threads if self._known.pid in (None, self._pid) else ()
        if wanted != self._wanted or (len(self._threads) < len(wanted) and time.monotonic() > self._follow_at):
            self._follow(wanted)
        if not wanted or len(self._threads) < len(wanted):  # a part of them would look like less work
            return None, None, None
        total = [0, 0, 0]
        for tid, kept in list(self._threads.items()):
            seen = self._schedstat(kept)
            if seen[0] is None:  # unplugged; or this kernel has none
                self._threads.pop(tid).close()
                return None, None, None
            total = [have + more for have, more in zip(total, seen, strict=True) if more is not None]
        return total[0], total[1], total[2]

    def _follow(self, wanted: tuple[int, ...]) -> None:
        """vCPUs come and go."""
        self._wanted, self._follow_at = wanted, time.monotonic() + _AGAIN_S
        for kept in self._threads.values():
            kept.close()
        self._threads = {}
        self._notes.pop("vcpu", None)
        if not wanted:
            self._notes["vcpu"] = "QMP tells no vCPU threads; see the guest's qmp"
        for tid in wanted:
            try:
                self._threads[tid] = Kept(PROC / str(self._pid) / "task" / str(tid) / "schedstat")
            except OSError as error:
                self._notes["vcpu"] = f"{error.strerror}; {_NO_SCHEDSTAT}"

    @staticmethod
    def _schedstat(kept: Kept | None) -> tuple[int | None, int | None, int | None]:
        """Time on a processor and waiting for one (ns), and time slices (Documentation/scheduler/sched-stats)."""
        try:
            numbers = [] if kept is None else kept.read().split()
        except OSError:
            numbers = []
        if len(numbers) != 3 or numbers == [b"0"] * 3:  # all zero: the kernel does not count
            return None, None, None
        return int(numbers[0]), int(numbers[1]), int(numbers[2])


def _switches(status: bytes) -> tuple[int | None, int | None]:
    """Voluntary and involuntary context switches of the main thread."""
    found = _numbers(status[status.rfind(b"\nvoluntary_ctxt_switches") :])
    return found.get(b"voluntary_ctxt_switches"), found.get(b"nonvoluntary_ctxt_switches")


def _numbers(text: bytes) -> dict[bytes, int]:
    """`name: number` lines."""
    pairs = (line.split(b":", 1) for line in text.splitlines() if b":" in line)
    return {name: int(value) for name, value in pairs if value.strip().isdigit()}
