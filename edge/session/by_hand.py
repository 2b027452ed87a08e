"""`edge record`: a guest that its owner runs, recorded and marked by hand until somebody says stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ConfigError, LabelError
from contracts.files import locked
from contracts.shell.memory import be_frugal
from contracts.vocabulary import Phase
from edge.collectors.base import Stamp, now
from edge.config import Config, Guest
from edge.record.keeper import host_facts
from edge.record.labelled import About
from edge.session.marks import Answer, ByMqtt, Order, Socket, answer, stamp_of
from edge.session.recording import Recording
from edge.session.running import SET_SINCE_NS
from edge.session.signals import Signals
from edge.session.site import broker_of, state_of
from edge.watch.evidence import moment as name_of

_log = logging.getLogger("edge")
TURN_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What `edge record` was told. profile, sample: as manifests say them; seconds: how long, None until stopped."""

    config: Config
    guest: Guest
    node: str
    store: Path
    profile: str
    sample: str
    phase: Phase
    seconds: float | None
    by_mqtt: bool


def guest_of(config: Config, named: str | None) -> Guest:
    """The one that is named, or the only one. Raises `ConfigError`."""
    names = [guest.id for guest in config.guest]
    if named is None and len(names) == 1:
        return config.guest[0]
    for guest in config.guest:
        if guest.id == named:
            return guest
    found = f"guests {', '.join(names)}" if named is None else f"no guest {named} among {', '.join(names)}"
    raise ConfigError("--guest", found, expected="one guest", remedy=f"say --guest {names[0]}, or another of them")


class ByHand:
    """One recording."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted, self._told = wanted, Signals()
        self._state = state_of(wanted.config)

    def run(self) -> list[Path]:
        """Until SIGINT, SIGTERM or its time is over: the episodes that are whole. None where it never began.

        Raises `BusyError`, `BrokerError`, `MissingError`, `StorageError`.
        """
        be_frugal()
        wanted = self._wanted
        with self._told.heard(), locked(self._state / f"recording-{wanted.guest.id}.lock"):
            recording = Recording(wanted.guest, wanted.config, self._state)
            by_mqtt = ByMqtt(broker_of(wanted.config), wanted.node, wanted.guest.id) if wanted.by_mqtt else None
            try:
                if not self._wait(lambda: "the clock is not set yet" if now().wall_ns < SET_SINCE_NS else ""):
                    return []
                recording.collect()
                if by_mqtt is not None:
                    by_mqtt.start()
                if not self._wait(lambda: "; ".join(recording.down.values())):
                    return []
                return self._record(recording, by_mqtt)
            finally:
                if by_mqtt is not None:
                    by_mqtt.stop()
                recording.close()

    def _record(self, recording: Recording, by_mqtt: ByMqtt | None) -> list[Path]:
        wanted, at = self._wanted, now()
        about = About(
            profile=wanted.profile,
            sample_name=wanted.sample,
            host=host_facts(),
            sample={"labelled_by": "hand"},
        )
        name, host = f"{wanted.guest.id}-{name_of(at.wall_ns)}", wanted.guest.host or wanted.node
        labelled = recording.begin(wanted.store, about, wanted.phase, name, host, at)
        _log.info("recording %s as %s %s; it is %s now; `edge mark PHASE` says what comes, Ctrl-C ends it",
                  labelled.folder, wanted.profile, wanted.sample, wanted.phase)  # fmt: skip
        door = Socket(self._state, wanted.guest.id)
        try:
            until = None if wanted.seconds is None else time.monotonic() + wanted.seconds
            while not self._told.stopping and (until is None or time.monotonic() < until):
                recording.turn()
                for order, connection in door.orders():
                    answer(connection, self._answer(recording, order))
                for mark in () if by_mqtt is None else by_mqtt.take():
                    said = self._mark(recording, mark.phase, mark.at)
                    if said.refused is not None:
                        _log.warning("a mark by MQTT is refused: %s", said.refused)
                time.sleep(TURN_S)
        finally:
            door.close()
        return recording.end()

    def _answer(self, recording: Recording, order: Order | None) -> Answer:
        if order is None:
            return Answer(refused="no order that this version knows")
        return self._mark(recording, order.phase, stamp_of(order.at_ns))

    def _mark(self, recording: Recording, phase: Phase, at: Stamp) -> Answer:
        try:
            recording.mark(phase, at)
        except LabelError as error:
            return Answer(refused=f"{error.found}; expected {error.expected}")
        said = f"{self._wanted.guest.id}: {phase} since {time.strftime('%H:%M:%S', time.gmtime(at.wall_ns / 1e9))} UTC"
        _log.info("%s", said)
        return Answer(done=said)

    def _wait(self, why: Callable[[], str]) -> bool:
        """Until there is no reason any more. False if stopped before."""
        told = ""
        while found := why():
            if self._told.stopping:
                return False
            if found != told:
                _log.info("waiting: %s", found)
                told = found
            time.sleep(TURN_S)
        return True
