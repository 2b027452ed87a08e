"""What systemd and `edge status` are told of a running agent."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from contracts.decode import decoded
from contracts.errors import PhasewatchError, RowError
from contracts.files import read_file, write_file
from contracts.vocabulary import Source
from edge.session.guests import Watched

FILE = "running.json"
EVERY_S = 30.0
_DRIFTED = 0.25


class GuestStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One guest. down: what is not up, and why; drifted: channels far from the training side, furthest first,
    None while there is too little to say."""

    id: str
    windows: int
    up: list[Source]
    down: dict[Source, str]
    drifted: dict[str, float] | None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that runs, as of `at_s` (Unix time)."""

    pid: int
    node: str
    at_s: float
    broker: str
    outbox_depth: int
    guests: list[GuestStatus]

    @property
    def sentence(self) -> str:
        """All of it in one."""
        down = [f"{guest.id} without {', '.join(guest.down)}" for guest in self.guests if guest.down]
        names = ", ".join(guest.id for guest in self.guests)
        watching = f"watching {names or 'nothing yet: write a [[guest]] in edge.toml, and reload'}"
        waiting = [f"{self.outbox_depth} events wait"] if self.outbox_depth > 100 else []
        return "; ".join([watching, *down, f"broker: {self.broker}", *waiting])


def guest_status(one: Watched) -> GuestStatus:
    """As it stands."""
    down = {some.collector.source: why for some in one.collectors if (why := some.down) is not None}
    drift = {} if one.health.last is None else one.health.last.drift
    far = sorted(((name, index) for name, index in drift.items() if index > _DRIFTED), key=lambda some: -some[1])
    return GuestStatus(
        id=one.guest.id,
        windows=one.live.windows,
        up=[source for source in one.sources if source not in down],
        down=down,
        drifted=dict(far[:5]) if drift else None,
    )


def status_of(watched: list[Watched], node: str, broker: str, outbox_depth: int) -> Status:
    """As it stands."""
    return Status(
        pid=os.getpid(),
        node=node,
        at_s=time.time(),
        broker=broker,
        outbox_depth=outbox_depth,
        guests=[guest_status(one) for one in watched],
    )


def write_status(state: Path, status: Status) -> None:
    """For `edge status`. Raises `StorageError`."""
    write_file(state / FILE, msgspec.json.encode(status))


def remove_status(state: Path) -> None:
    """The agent ends. Raises nothing."""
    try:
        (state / FILE).unlink(missing_ok=True)
    except OSError:
        return


def read_status(state: Path) -> Status | None:
    """Of the agent that runs on this machine; None where none does. Raises nothing."""
    path = state / FILE
    try:
        status = decoded(read_file(path, 1 << 20), Status, path, RowError, expected="a status", remedy="remove it")
        os.kill(status.pid, 0)
    except (PhasewatchError, ProcessLookupError, OverflowError):
        return None
    except PermissionError:  # another user's agent
        pass
    # after a power cut the file is still there, and its number another process's
    return status if status.pid > 0 and abs(time.time() - status.at_s) < 3 * EVERY_S else None
