"""One episode, from the guest's boot to its end: `python -m edge.lab.episode`, which `edge lab run` starts in network
and process namespaces of its own, so that nothing outlives it.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from contracts.decode import decoded
from contracts.errors import ConfigError, GuestError
from contracts.files import read_file
from contracts.shell.cli import Parser, run
from edge.collectors.base import now
from edge.config import Config, Guest
from edge.config.settings import BrokerTable, NetflowTable
from edge.lab.images import FOLDERS, image_of
from edge.lab.machine import PROGRAMS, TAP, command_of
from edge.lab.place import FLOWS, Place
from edge.lab.places import GUEST
from edge.lab.plan import Planned
from edge.lab.quota import Beside, Groups
from edge.lab.worker import Worker
from edge.record.keeper import host_facts
from edge.record.labelled import About
from edge.record.part import remove
from edge.session.recording import Recording

_log = logging.getLogger("edge")
BOOT_S, UP_S = 180.0, 30.0
"""How long a guest may take to answer, and its sources to be up."""
TURN_S = 0.1
NICE = 10
MS = 1_000_000


def record_episode(planned: Planned, store: Path, images: Path, folder: Path, boot_s: float = BOOT_S) -> Path:
    """The finished episode's folder. folder: an empty one for sockets and logs. What fails leaves no episode.

    Raises `GuestError`, `StorageError`, `MissingError`, `ConfigError`.
    """
    host, groups = planned.host, Groups()
    command = [*_last(), *command_of(host, image_of(host, images), folder, planned.episode_id)]
    place = Place(folder, planned.ports)
    worker = Worker(folder / "work.sock")
    recording = Recording(_guest(folder), _config(folder), None)
    try:
        place.lay()
        place.start("guest", command, groups.enter(planned.episode_id, host.cores))
        worker.wait_up(boot_s)
        recording.collect()
        _wait_sources(recording)
        place.export()
        return _Director(planned, store, place, worker, recording, groups).direct()
    except BaseException:
        recording.close()
        left = store / host.id / planned.episode_id
        if left.exists() and not (left / "episode.json").exists():
            remove(left)
        raise
    finally:
        recording.close()
        worker.close()
        place.end()
        groups.leave(planned.episode_id)


class _Director:
    """Marks and orders at their times, while rows come."""

    def __init__(
        self, planned: Planned, store: Path, place: Place, worker: Worker, recording: Recording, groups: Groups
    ) -> None:
        self._planned, self._store, self._place = planned, store, place
        self._worker, self._recording, self._groups = worker, recording, groups
        self._orders, self._marks = list(planned.orders), list(planned.marks[1:])
        self._zero_ns = time.monotonic_ns() + planned.settle_ms * MS
        self._faults: list[str] = []
        self._beside = Beside(groups)

    def direct(self) -> Path:
        """The guest settles, then the episode is recorded."""
        self._work_until(0)
        self._begin()
        self._work_until(self._planned.length_ms)
        (folder, *others) = self._recording.end()
        if others:
            raise GuestError("the clock", "was set meanwhile", expected="one episode", remedy="record it again")
        return folder

    def _work_until(self, end_ms: int) -> None:
        looked = 0.0
        while (at := self._now_ms()) < end_ms:
            while self._marks and self._marks[0].at_ms <= at:
                self._recording.mark(self._marks.pop(0).phase, now())
            while self._orders and self._orders[0].at_ms <= at:
                line = self._orders.pop(0).line
                self._order(line)
            if at >= 0:
                self._recording.turn()
            if time.monotonic() > looked + 1:
                looked = time.monotonic()
                self._beside.look()
                for name in self._place.lost():
                    self._fault(f"the {name} ended and was started again")
            next_ms = min([end_ms, *(o.at_ms for o in self._orders[:1]), *(m.at_ms for m in self._marks[:1])])
            time.sleep(max(0.0, min(TURN_S, (next_ms - self._now_ms()) / 1000)))

    def _order(self, line: str) -> None:
        try:
            done = self._worker.order(line)
        except GuestError:
            self._place.lost()  # knows better, if QEMU has ended
            raise
        if not done and line.startswith("start"):
            self._fault(f"refused: {line}")

    def _now_ms(self) -> int:
        return (time.monotonic_ns() - self._zero_ns) // MS

    def _begin(self) -> None:
        planned, host = self._planned, self._planned.host
        guest = {
            "machine": host.machine,
            "architecture": FOLDERS[host.machine],
            "cpus": host.cpus,
            "memory_mb": host.memory_mb,
            "cores": host.cores,
            "accelerator": "tcg",
            "qemu": _version(PROGRAMS[host.machine]),
        }
        about = About(
            profile=planned.profile,
            sample_name=planned.sample_name,
            host={**host_facts(), "guest": guest},
            sample=planned.sample,
        )
        self._beside = Beside(self._groups)
        phase, name = planned.marks[0].phase, planned.episode_id
        at = now()
        self._recording.begin(self._store, about, phase, name, host.id, at, self._facts)
        self._zero_ns = at.mono_ns  # a busy machine may be a little late

    def _facts(self) -> dict[str, object]:
        return {"beside": self._beside.facts(), **({"faults": self._faults} if self._faults else {})}

    def _fault(self, what: str) -> None:
        _log.warning("%s: %s", self._planned.episode_id, what)
        self._faults.append(f"{self._now_ms() / 1000:.1f} s: {what}")


def _last() -> list[str]:
    """The guest is no more urgent than anything else of this machine."""
    return ["nice", "-n", str(-os.nice(0))] if os.nice(0) < 0 else []


def _wait_sources(recording: Recording) -> None:
    until = time.monotonic() + UP_S
    while (down := recording.down) and time.monotonic() < until:
        time.sleep(0.1)
    for source, why in down.items():
        raise GuestError(
            source, why.partition(";")[0], expected="all four sources", remedy="see the guest's console.log"
        )


def _guest(folder: Path) -> Guest:
    return Guest(id="guest", addresses=[GUEST], qmp=str(folder / "qmp.sock"), tap=TAP, feed=str(folder / "feed.sock"))


def _config(folder: Path) -> Config:
    return Config(
        broker=BrokerTable(url="mqtt://127.0.0.1"),
        netflow=NetflowTable(listen=f"127.0.0.1:{FLOWS}"),
        guest=[_guest(folder)],
    )


def _version(program: str) -> str:
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    return said.splitlines()[0].removeprefix("QEMU emulator version ").partition(" ")[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m edge.lab.episode PLAN --store STORE --images DIR --work DIR`."""
    return run("lab", _main, arguments)


def _main(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="python -m edge.lab.episode", example="python -m edge.lab.episode plan.json --store S --images I"
    )
    parser.add_argument("plan", type=Path, metavar="FILE", help="one planned episode, as JSON")
    parser.add_argument("--store", type=Path, required=True, metavar="STORE", help="where the episode goes")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="tiny guests")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="an empty folder for sockets and logs")
    parser.add_argument("--boot-timeout", type=float, default=BOOT_S, metavar="S", help="how long a boot may take")
    options: argparse.Namespace = parser.parse_args(arguments)
    logging.basicConfig(format="lab: %(message)s", level=logging.WARNING, stream=sys.stderr)
    planned = decoded(
        read_file(options.plan),
        Planned,
        options.plan,
        ConfigError,
        expected="a planned episode",
        remedy="plan it again",
    )
    with contextlib.suppress(PermissionError):
        os.nice(-NICE)  # the sampler comes before the guests
    print(record_episode(planned, options.store, options.images, options.work, options.boot_timeout))
    return 0


if __name__ == "__main__":
    sys.exit(main())
