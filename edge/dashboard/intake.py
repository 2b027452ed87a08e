"""The thread from the broker to the history and the board. A slow browser or a full disk does not hold it up."""

from __future__ import annotations

import contextlib
import logging
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import get_args

import msgspec

from contracts.errors import PhasewatchError
from contracts.events.envelope import Data, Event, decode_event
from contracts.events.payloads import EpisodeData, GapData, WindowData
from contracts.shell.broker import Broker
from contracts.text import printable
from contracts.types import Name
from contracts.vocabulary import MARK
from edge.audit.ear import Ear
from edge.audit.streams import Auditor, Finding
from edge.dashboard.board import Board, Standing
from edge.dashboard.history import DAY_NS, History, now_ns
from edge.dashboard.rows import Gap
from edge.deliver.line import Heard

log = logging.getLogger("edge.dashboard")

COMMIT_S, PRUNE_S = 1.0, 3600.0
_LEVEL = re.compile(get_args(Name)[1].pattern)
_GUESTS = 5000
"""More than any site has: whoever invents them fills neither memory nor disk."""


class Intake:
    """raised: is told of each guest whose alarm has just risen."""

    def __init__(
        self, broker: Broker, history: History, board: Board, raised: Callable[[Standing, WindowData], None]
    ) -> None:
        """Raises `ConfigError`."""
        self._history, self._board, self._raised = history, board, raised
        name = history.fact("client", f"phasewatch-dashboard-{now_ns():x}")
        topics = ["phasewatch/+/+/+", "phasewatch/+/availability"]
        self._ear = Ear(broker, topics, self._say, name=name, session_s=86_400)
        self._auditor = Auditor()
        self._stop = threading.Event()
        self._broker_problem: str | None = "nothing comes from the broker: not connected yet"
        self._store_problem: str | None = None
        self.strange = 0
        """Payloads that were no events of ours."""
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and store what came."""
        self._stop.set()
        self._thread.join(10)
        self._ear.close()
        self._history.commit()

    @property
    def problem(self) -> str | None:
        """Why nothing comes, or nothing is kept; None where all is well."""
        return self._broker_problem or self._store_problem

    def _say(self, line: str) -> None:
        log.info("%s", line)
        self._broker_problem = None if line.startswith("listening") else f"nothing comes from the broker: {line}"
        self._board.version += 1

    def _run(self) -> None:
        self._upkeep(self._history.prune, now_ns())
        committed = pruned = time.monotonic()
        while not self._stop.is_set():
            try:
                came = self._ear.listen(0.2)
            except PhasewatchError as error:
                self._say(str(error))
                self._stop.wait(5)
                continue
            for heard in came:
                self._try(heard)
            now = time.monotonic()
            if now - committed >= COMMIT_S:
                self._upkeep(self._history.commit)
                committed = now
            if now - pruned >= PRUNE_S:
                self._upkeep(self._history.prune, now_ns())
                pruned = now

    def _upkeep(self, work: Callable[..., None], *given: int) -> None:
        """A full disk passes; what is shown goes on."""
        try:
            work(*given)
            self._store_problem = None
        except sqlite3.Error as error:
            self._store_problem = f"the history cannot be written: {error}"
            log.warning("%s", self._store_problem)
            with contextlib.suppress(sqlite3.Error):
                self._history.forget_uncommitted()
            with self._board.lock:
                self._board.number(self._history)

    def _try(self, heard: Heard) -> None:
        """Whatever comes, the next is heard."""
        try:
            self._take(heard)
        except sqlite3.Error:
            self._upkeep(self._history.commit)
        except Exception as error:  # hostile until checked, and not all of it is foreseen
            self.strange += 1
            log.warning("%s: %s", printable(heard.topic)[:200], printable(repr(error))[:200])

    def _take(self, heard: Heard) -> None:
        levels = heard.topic.split("/")
        if any(not _LEVEL.match(level) for level in levels[1:3]):
            self.strange += 1
            return
        if len(levels) == 3:
            if heard.payload in (b"online", b"stopped", b"offline"):
                self._node(levels[1], heard.payload.decode())
            return
        if not heard.payload or levels[-1] == MARK:
            return
        findings = list(self._auditor.hear(heard.topic, heard.payload, retained=heard.retained))
        if any(one.what == "violation" for one in findings):
            self.strange += 1
            return
        event, at = decode_event(heard.payload, heard.topic), now_ns()
        _, node, guest, _ = levels
        if not (_sane(msgspec.to_builtins(event.data)) and _timely(event.data, at) and self._known_or_few(node, guest)):
            self.strange += 1
            return
        number = self._history.guest(node, guest)
        self._history.add(number, event, heard.payload, at)
        with self._board.lock:
            one = self._board.standing(node, guest, number)
            self._show(one, event, at, seen=not heard.retained)
            for finding in findings:
                self._gap(one, finding, at)
            self._board.version += 1

    def _known_or_few(self, node: str, guest: str) -> bool:
        return (node, guest) in self._board.guests or len(self._board.guests) < _GUESTS

    def _show(self, one: Standing, event: Event[Data], at: int, *, seen: bool) -> None:
        data = event.data
        if isinstance(data, WindowData):
            before = one.alarm
            episode = self._history.episode(one.number, data.episode_id, at)
            self._board.window(one, episode, data, at)
            if one.alarm and not before:
                self._raised(one, data)
        elif isinstance(data, EpisodeData):
            self._board.episode(one, self._history.episode(one.number, data.episode_id, at), data, at)
        elif isinstance(data, GapData):
            for run in data.ranges[:100]:
                self._history.fill(one.number, run.first, run.last)  # known now
                self._history.add_gap(one.number, Gap(run.first, run.last, data.cause, one.episode, one.last_ns), at)
            one.missing = self._history.missing(one.number)
        if seen:
            one.heard_ns = max(one.heard_ns, at)

    def _gap(self, one: Standing, finding: Finding, at: int) -> None:
        if finding.run is None or finding.where.endswith("/perf"):  # which may get lost
            return
        first, last = finding.run
        if finding.what == "late":
            self._history.fill(one.number, first, last)
        else:
            self._history.add_gap(one.number, Gap(first, last, "unknown", one.episode, one.last_ns), at)
        one.missing = self._history.missing(one.number)

    def _node(self, node: str, state: str) -> None:
        if node not in self._board.nodes and len(self._board.nodes) >= _GUESTS:
            self.strange += 1
            return
        at = now_ns()
        self._history.set_node(node, state, at)
        with self._board.lock:
            self._board.nodes[node] = (state, at)
            self._board.version += 1


def _sane(value: object) -> bool:
    """Whether every number and text in it is such as an agent would say."""
    if isinstance(value, dict):
        return len(value) <= 500 and all(_sane(one) for one in value) and all(_sane(one) for one in value.values())
    if isinstance(value, list | tuple):
        return len(value) <= 2000 and all(_sane(one) for one in value)
    if isinstance(value, str):
        return len(value) <= 500
    return value is None or (isinstance(value, int | float) and -(1 << 62) < value < 1 << 62)


def _timely(data: Data, now: int) -> bool:
    """A window of tomorrow would be the last that is shown."""
    return not isinstance(data, WindowData) or 0 <= data.end_wall_ns < now + DAY_NS
