"""A share of the CPU for each guest, by the kernel's own bandwidth control (cgroup v2's cpu.max, or v1's cfs quota),
and how much of the machine the lab and everything else took.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ConfigError

GROUP = "phasewatch-lab"
PERIOD_US = 50_000
"""A guest that has used up its share waits for less than so long."""
WEIGHT = {True: "10000", False: "102400"}
"""A hundred times the usual, as v2 and v1 say it: the lab comes before what else this machine does."""
_ROOTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/cpu"))


class Groups:
    """The lab's cgroups: one for what records, and one for each guest. Raises `ConfigError` where we may make none."""

    def __init__(self) -> None:
        self.v2 = (_ROOTS[0] / "cgroup.controllers").exists()
        self._cpu = _ROOTS[0 if self.v2 else 1] / GROUP
        self._account = self._cpu if self.v2 else Path("/sys/fs/cgroup/cpuacct") / GROUP
        try:
            if self.v2:
                (_ROOTS[0] / "cgroup.subtree_control").write_text("+cpu")
            for folder in {self._cpu, self._account}:
                folder.mkdir(exist_ok=True)
            if self.v2:
                (self._cpu / "cgroup.subtree_control").write_text("+cpu")
            (self._cpu / ("cpu.weight" if self.v2 else "cpu.shares")).write_text(WEIGHT[self.v2])
        except OSError as error:
            raise ConfigError(
                self._cpu, f"cannot be made ({error.strerror})", expected="cgroups with the cpu controller",
                remedy="run the lab as root, where the kernel has CONFIG_CFS_BANDWIDTH",
            ) from None  # fmt: skip

    def enter(self, name: str, cores: float | None = None) -> list[Path]:
        """A group with a quota: the files in which a process writes its id to enter it."""
        for folder in {self._cpu / name, self._account / name}:
            folder.mkdir(exist_ok=True)
        if cores is not None:
            quota = round(cores * PERIOD_US)
            if self.v2:
                (self._cpu / name / "cpu.max").write_text(f"{quota} {PERIOD_US}")
            else:
                (self._cpu / name / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (self._cpu / name / "cpu.cfs_quota_us").write_text(str(quota))
        return [folder / name / "cgroup.procs" for folder in (self._cpu, self._account)]

    def leave(self, name: str) -> None:
        """Remove a group whose processes have ended; they may take a moment."""
        for folder in {self._cpu / name, self._account / name}:
            for _ in range(50):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.05)
                else:
                    break

    @property
    def guests(self) -> int:
        """How many there are now."""
        return sum(1 for one in self._cpu.iterdir() if one.is_dir() and one.name != "rest")

    def used_s(self) -> float:
        """CPU seconds of the whole lab so far."""
        if self.v2:
            fields = dict(line.split() for line in (self._account / "cpu.stat").read_text().splitlines())
            return int(fields["usage_usec"]) / 1e6
        return int((self._account / "cpuacct.usage").read_text()) / 1e9


@dataclass
class Beside:
    """What else ran while one guest was recorded."""

    groups: Groups

    def __post_init__(self) -> None:
        self._since = time.monotonic(), _busy_s(), self.groups.used_s()
        self._guests: list[int] = []

    def look(self) -> None:
        """Now and then."""
        self._guests.append(self.groups.guests)

    def facts(self) -> dict[str, float]:
        """Mean number of guests (this one included), and cores taken by the lab and by everything else."""
        since, busy, lab = self._since
        seconds = max(1e-3, time.monotonic() - since)
        lab_cores = (self.groups.used_s() - lab) / seconds
        return {
            "guests": round(sum(self._guests) / max(1, len(self._guests)), 2),
            "lab_cores": round(lab_cores, 2),
            "other_cores": round(max(0.0, (_busy_s() - busy) / seconds - lab_cores), 2),
        }


def _busy_s() -> float:
    """CPU seconds of the whole machine that were not idle (proc(5), /proc/stat)."""
    user, nice, system, _, _, irq, soft, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


def join(files: Sequence[Path], pid: int) -> None:
    """A process enters a group, by the files that `enter` gave."""
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            path.write_text(str(pid))
