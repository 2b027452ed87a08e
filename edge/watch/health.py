"""What the agent costs, how its machine fares, and how what it sees compares with what was learned from."""

from __future__ import annotations

import os
import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from contracts.events.payloads import PerfData, ShadowCost, SourcePerf
from contracts.vocabulary import Source
from edge.extract import Windows
from edge.model.opened import Active
from edge.model.timings import Timings
from edge.watch.drift import Drift

_THERMAL = Path("/sys/class/thermal/thermal_zone0")
_THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
Sources = Callable[[dict[Source, float]], dict[Source, SourcePerf]]
"""How each source of a live guest fares, given the mean share of it that was observed."""


class Health:
    """Of one watch: collects timings and shares, and reads the rest from the kernel when asked."""

    def __init__(self, *, sources: Sources | None = None, disk: Path | None = None) -> None:
        """sources: of a live guest; disk: a place on the disk whose room is told."""
        self.extraction, self.inference, self.publish = Timings(), Timings(), Timings()
        self.total = Timings()  # one window, rows to outbox; read by the benchmark and the replay summary
        self.lateness = Timings()
        self.last: PerfData | None = None
        self._sources, self._disk = sources, disk
        self._observed: defaultdict[Source, list[float]] = defaultdict(list)
        self._drift: Drift | None = None
        self._since, self._cpu = time.monotonic(), time.process_time()

    def reference(self, active: Active) -> None:
        """Another model speaks from now on: what is seen is compared with its training side."""
        self._channels = active.channels
        self._drift = Drift(active.reference, active.bundle.manifest.channels)

    def windowed(self, windows: Windows, observed: dict[Source, float]) -> None:
        """One more window was looked at (the first of `windows`)."""
        for source, share in observed.items():
            self._observed[source].append(share)
        if self._drift is not None:
            tensor, mask = windows.tensor[0, self._channels], windows.mask[0, self._channels]
            count = mask.sum(axis=1)
            level = np.where(mask, tensor, 0).sum(axis=1, dtype=np.float64)
            self._drift.add(np.where(count > 0, level / np.maximum(count, 1), np.nan))

    def report(self, *, outbox_depth: int, dropped: int, shadow: ShadowCost | None) -> PerfData:
        """Costs since the last report."""
        now, cpu = time.monotonic(), time.process_time()
        period = max(now - self._since, 1e-6)
        share = (cpu - self._cpu) / period
        self._since, self._cpu = now, cpu
        observed = {source: round(sum(some) / len(some), 4) for source, some in self._observed.items() if some}
        self._observed.clear()
        self.last = PerfData(
            period_s=round(period, 3),
            extraction_ms=self.extraction.take(),
            inference_ms=self.inference.take(),
            publish_ms=self.publish.take(),
            rss_bytes=_rss(),
            cpu_share=round(share, 4),
            outbox_depth=outbox_depth,
            dropped=dropped,
            temperature_c=_temperature(),
            throttled=_throttled(),
            lateness_ms=None if self._sources is None else self.lateness.take(),
            disk_free_bytes=None if self._disk is None else _free(self._disk),
            sources={} if self._sources is None else self._sources(observed),
            drift={} if self._drift is None else self._drift.index(),
            shadow=shadow,
        )
        return self.last


def _rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _free(place: Path) -> int | None:
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def _temperature() -> float | None:
    """Of the SoC, on a Raspberry Pi (its first thermal zone is called cpu-thermal)."""
    try:
        if (_THERMAL / "type").read_text().strip() != "cpu-thermal":
            return None
        return int((_THERMAL / "temp").read_text()) / 1000
    except (OSError, ValueError):
        return None


def _throttled() -> bool | None:
    """Whether the firmware says under-voltage, capped or throttled right now (bits 0 to 3)."""
    try:
        return bool(int(_THROTTLED.read_text(), 16) & 0xF)
    except (OSError, ValueError):
        return None
