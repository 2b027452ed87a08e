"""QEMU's machine protocol, twice a second: status, and the block statistics of all disks together.

It also tells the proc collector which process and which threads are the guest's. Nothing that changes a guest is sent.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from contracts.telemetry.rows import QmpRow
from contracts.vocabulary import Source
from edge.collectors.base import Collector, SourceError, Taken, now
from edge.collectors.find import Known
from edge.collectors.monitor import Monitor, RefusedError, rows_of

_log = logging.getLogger("edge")

READ_ONLY = frozenset({"qmp_capabilities", "query-status", "query-block", "query-blockstats", "query-cpus-fast"})
"""All that is ever sent. `qmp_capabilities` ends the greeting, and changes nothing."""
WATCHED = frozenset({"RESET", "STOP", "RESUME", "SHUTDOWN", "POWERDOWN"})
"""Events that are logged and counted."""
_ANEW_S = 5.0
"""vCPUs and disks come and go; they are asked for again after so long, and after an event."""
_MOST = 1 << 63
_MOST_VCPUS, _MOST_PID = 512, 1 << 22
_SUMMED = (
    "rd_bytes", "wr_bytes", "rd_operations", "wr_operations", "flush_operations", "rd_total_time_ns",
    "wr_total_time_ns", "flush_total_time_ns", "wr_highest_offset",
)  # fmt: skip


class QmpCollector(Collector):
    """One guest's QMP socket."""

    source: ClassVar[Source] = "qmp"
    period_s = 0.5

    def __init__(self, path: Path, known: Known, guest: str) -> None:
        self._path, self._known, self._guest = path, known, guest
        self._monitor: Monitor | None = None
        self._disks: frozenset[str] = frozenset()
        self._anew = 0.0
        self._events: Counter[str] = Counter()

    @property
    def notes(self) -> dict[str, str]:
        """Whether there is a disk."""
        return {} if self._disks else {"disks": "the guest has none, or only empty drives and CD-ROMs"}

    @property
    def counts(self) -> dict[str, int]:
        """Events since the agent began."""
        return dict(self._events)

    def open(self) -> None:
        """Connect. Raises `SourceError`."""
        monitor = Monitor(self._path, READ_ONLY)
        try:
            monitor.greet()
            self._monitor = monitor
            self._look()
        except (SourceError, RefusedError) as error:
            self._monitor = None
            monitor.close()
            if isinstance(error, RefusedError):
                raise SourceError(f"refused: {error}", "name the guest's -qmp socket") from None
            raise
        self._known.pid = monitor.pid

    def close(self) -> None:
        """Hang up; what was learned of the process goes with it."""
        if self._monitor is not None:
            self._monitor.close()
        self._monitor = None
        self._known.pid, self._known.vcpu_threads = None, ()

    def read(self) -> Sequence[Taken]:
        """One row. Raises `SourceError`."""
        monitor = self._monitor
        assert monitor is not None, "open() comes first"
        began = time.perf_counter_ns()
        try:
            status = monitor.ask("query-status")
            stats = rows_of(monitor.ask("query-blockstats"))
        except RefusedError as error:
            raise SourceError(f"refused: {error}", "name the guest's -qmp socket") from None
        except SourceError:
            with contextlib.suppress(SourceError):
                monitor.listen()  # it may have said why before it went
            self._hear(monitor)
            raise
        took, at = time.perf_counter_ns() - began, now()
        self._hear(monitor)
        if time.monotonic() >= self._anew:
            self._look()
        said = status.get("status") if isinstance(status, dict) else None
        row = QmpRow(
            t_wall_ns=at.wall_ns,
            t_mono_ns=at.mono_ns,
            status=said[:64] if isinstance(said, str) else "unknown",
            poll_ns=took,
            **totals(stats, self._disks),
        )
        return [Taken(row, at)]

    def _hear(self, monitor: Monitor) -> None:
        for name, _ in monitor.events:
            self._anew = 0
            if name in WATCHED:
                self._events[name] += 1
                _log.info("%s: QEMU says %s", self._guest, name)
        monitor.events.clear()

    def _look(self) -> None:
        """Which disks and vCPUs there are."""
        assert self._monitor is not None
        self._disks = disks(rows_of(self._ask("query-block")))
        said = [one.get("thread-id") for one in rows_of(self._ask("query-cpus-fast"))[:_MOST_VCPUS]]
        self._known.vcpu_threads = tuple(sorted({tid for tid in said if type(tid) is int and 0 < tid <= _MOST_PID}))
        self._anew = time.monotonic() + _ANEW_S

    def _ask(self, command: str) -> Any:
        assert self._monitor is not None
        try:
            return self._monitor.ask(command)
        except RefusedError:  # an old QEMU
            return None


def _id_of(device: dict[str, Any]) -> str:
    """How QEMU names a device in both of its answers."""
    return f"{device.get('device') or ''}|{device.get('qdev') or ''}"


def disks(found: Sequence[dict[str, Any]]) -> frozenset[str]:
    """Of the answer to `query-block`: what holds a medium that stays there."""
    return frozenset(_id_of(one) for one in found if one.get("inserted") and not one.get("removable"))


def totals(stats: Sequence[dict[str, Any]], wanted: frozenset[str]) -> dict[str, int | None]:
    """Of the answer to `query-blockstats`: the sum over all disks; how long ago the last request of any was, ns.

    Null where there is no disk, and where one does not say.
    """
    chosen = [one["stats"] for one in stats if _id_of(one) in wanted and isinstance(one.get("stats"), dict)]
    found: dict[str, int | None] = {}
    for name in _SUMMED:
        some = [_count(one.get(name)) for one in chosen]
        whole = [value for value in some if value is not None]
        found[name] = sum(whole) if chosen and len(whole) == len(some) and sum(whole) < _MOST else None
    idle = [value for one in chosen if (value := _count(one.get("idle_time_ns"))) is not None]
    return {**found, "idle_time_ns": min(idle, default=None)}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST else None
