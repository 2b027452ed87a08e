"""What the agent itself costs, and how its machine fares."""

from __future__ import annotations

import os
import time
from pathlib import Path

from contracts.events.payloads import PerfData, ShadowCost
from edge.model.timings import Timings

_THERMAL = Path("/sys/class/thermal/thermal_zone0")
_THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")


class Health:
    """Collects timings, and reads the rest from the kernel when asked."""

    def __init__(self) -> None:
        self.extraction, self.inference, self.publish = Timings(), Timings(), Timings()
        self.total = Timings()  # one window, rows to outbox; read by the benchmark and the replay summary
        self._since, self._cpu = time.monotonic(), time.process_time()

    def report(self, *, outbox_depth: int, dropped: int, shadow: ShadowCost | None) -> PerfData:
        """Costs since the last report."""
        now, cpu = time.monotonic(), time.process_time()
        period = max(now - self._since, 1e-6)
        share = (cpu - self._cpu) / period
        self._since, self._cpu = now, cpu
        return PerfData(
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
            shadow=shadow,
        )


def _rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


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
