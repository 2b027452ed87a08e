"""A plan, recorded: several guests at once, each in namespaces of its own, until every episode is there.

What is there already is not recorded again, so that a plan can be recorded in several sittings. An episode that fails
is said and tried again in the next; the rest of the plan goes on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from contracts.errors import ConfigError, GuestError, PhasewatchError
from contracts.files import locked
from contracts.telemetry.episode import read_manifest
from edge.lab.episode import BOOT_S
from edge.lab.images import image_of
from edge.lab.machine import PROGRAMS
from edge.lab.plan import Planned
from edge.lab.quota import Groups, join
from edge.record.part import remove

_log = logging.getLogger("edge")
NAMESPACES = ("unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
"""util-linux's: when its child ends, or is ended, everything in it ends."""
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
"""mke2fs and ip are there, and not on everybody's path."""
LONGEST = 60
"""Letters of a folder's path to which a socket's own can be added (unix(7): 107 in all)."""
SLACK_S = 400.0
"""An episode that takes so much longer than planned hangs."""


@dataclass
class Result:
    """How it went. failed: episode → why."""

    recorded: list[Path] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    there: int = 0


@dataclass(frozen=True, kw_only=True)
class Lab:
    """Where everything is. work: for sockets and disks, which are removed again."""

    store: Path
    images: Path
    work: Path | None = None
    parallel: int
    boot_s: float = BOOT_S

    def run(self, plan: Sequence[Planned]) -> Result:
        """Record what is missing. Ctrl-C ends the guests, and leaves no half episode.

        Raises `ConfigError`, `MissingError`, `GuestError`, `BusyError` before anything begins."""
        with locked(self.store / ".lab.lock"):
            result, todo = Result(), []
            for planned in plan:
                if self._is_there(planned):
                    result.there += 1
                else:
                    todo.append(planned)
            if todo:
                self._require(todo)
                _Sitting(self, todo, result).sit()
        return result

    def _is_there(self, planned: Planned) -> bool:
        folder = self.store / planned.host.id / planned.episode_id
        if not (folder / "episode.json").exists():
            return False
        if read_manifest(folder).sample.get("plan_sha256") != planned.digest:
            raise ConfigError(
                folder, "recorded by another plan", expected="this recipe, seed and version",
                remedy="name the recipe otherwise, take another seed, or another store",
            )  # fmt: skip
        return True

    def _require(self, todo: Sequence[Planned]) -> None:
        scratch = self.work or Path(tempfile.gettempdir())
        if len(str(scratch)) > LONGEST:
            raise ConfigError(
                scratch, f"a path of {len(str(scratch))} letters", expected=f"{LONGEST} at most: sockets go there",
                remedy="name another folder with --scratch",
            )  # fmt: skip
        for host in {planned.host.id: planned.host for planned in todo}.values():
            image_of(host, self.images)
        programs = {PROGRAMS[planned.host.machine] for planned in todo}
        for program in sorted({*programs, "ip", "mke2fs", "pmacctd", "unshare"}):
            if shutil.which(program, path=PATH) is None:
                raise GuestError(program, "no such program", expected="QEMU, iproute2, e2fsprogs, pmacct, util-linux",
                                 remedy="make system (or install its package)")  # fmt: skip
        tried = subprocess.run([*NAMESPACES, "true"], capture_output=True, text=True)
        if tried.returncode != 0:
            raise GuestError("namespaces", " ".join(tried.stderr.split()) or f"status {tried.returncode}",
                             expected="the right to make them", remedy="run the lab as root")  # fmt: skip


class _Sitting:
    """One go at what is missing."""

    def __init__(self, lab: Lab, todo: list[Planned], result: Result) -> None:
        self._lab, self._todo, self._result = lab, list(todo), result
        self._total, self._left_ms = len(todo), sum(one.length_ms + one.settle_ms for one in todo)
        self._lock = threading.Lock()
        self._children: dict[str, subprocess.Popen[str]] = {}
        self._stopping = False

    def sit(self) -> None:
        groups = Groups()
        join(groups.enter("rest"), os.getpid())
        slots = [threading.Thread(target=self._slot, daemon=True) for _ in range(min(self._lab.parallel, self._total))]
        for slot in slots:
            slot.start()
            time.sleep(0.5)  # boots are the most that a guest ever takes
        try:
            while any(slot.is_alive() for slot in slots):
                time.sleep(0.2)
        except KeyboardInterrupt:
            with self._lock:
                self._stopping = True
                for child in self._children.values():
                    child.kill()  # unshare ends with nothing less, and takes its namespaces with it
            for slot in slots:
                slot.join(20)
            _log.info(
                "stopped: %d recorded, %d to go; run it again to go on", len(self._result.recorded), self._to_go()
            )
            raise

    def _to_go(self) -> int:
        return self._total - len(self._result.recorded) - len(self._result.failed)

    def _slot(self) -> None:
        while not self._stopping:
            with self._lock:
                if not self._todo:
                    return
                planned = self._todo.pop(0)
            began = time.monotonic()
            try:
                folder = self._record(planned)
            except (PhasewatchError, OSError) as error:
                if not self._stopping:
                    self._result.failed[planned.episode_id] = str(error)
                    _log.error("%s/%s: not recorded: %s", planned.host.id, planned.episode_id, error)
            else:
                self._result.recorded.append(folder)
                self._tell(planned, time.monotonic() - began)
            with self._lock:
                self._left_ms -= planned.length_ms + planned.settle_ms

    def _tell(self, planned: Planned, took_s: float) -> None:
        minutes = self._left_ms / 60_000 / self._lab.parallel
        _log.info(
            "%d of %d: %s/%s, %s %s, %.0f s, recorded in %.0f s; about %.0f min left",
            len(self._result.recorded), self._total, planned.host.id, planned.episode_id, planned.profile,
            planned.sample_name, planned.length_ms / 1000, took_s, minutes,
        )  # fmt: skip

    def _record(self, planned: Planned) -> Path:
        with tempfile.TemporaryDirectory(prefix="phasewatch-lab-", dir=self._lab.work) as work:
            file, folder = Path(work) / "plan.json", Path(work) / "guest"
            folder.mkdir()
            file.write_bytes(msgspec.json.encode(planned))
            options = ["--store", str(self._lab.store), "--images", str(self._lab.images), "--work", str(folder)]
            options += ["--boot-timeout", str(self._lab.boot_s)]
            child = subprocess.Popen(
                [*NAMESPACES, sys.executable, "-m", "edge.lab.episode", str(file), *options],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                env={**os.environ, "PATH": PATH},
                start_new_session=True,  # Ctrl-C is ours to pass on
            )  # fmt: skip
            with self._lock:
                self._children[planned.episode_id] = child
                if self._stopping:  # it was started while the others were being ended
                    child.kill()
            try:
                out, said = child.communicate(timeout=(planned.length_ms + planned.settle_ms) / 1000 + SLACK_S)
            except subprocess.TimeoutExpired:
                child.kill()
                _, said = child.communicate()
                said = f"{said}\nhung"
            finally:
                with self._lock:
                    self._children.pop(planned.episode_id)
            if child.returncode != 0:
                self._clear(planned)
                raise GuestError(planned.episode_id, _last_line(said) or f"ended with {child.returncode}",
                                 expected="an episode", remedy="run it again")  # fmt: skip
            for line in said.strip().splitlines():
                _log.warning("%s", line)
            return Path(out.strip().splitlines()[-1])

    def _clear(self, planned: Planned) -> None:
        """What a child that was ended could not take away itself."""
        folder = self._lab.store / planned.host.id / planned.episode_id
        if folder.exists() and not (folder / "episode.json").exists():
            remove(folder)
        with contextlib.suppress(ConfigError):
            Groups().leave(planned.episode_id)


def _last_line(said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1] if lines else ""
