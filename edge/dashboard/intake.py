"""The thread from the broker to the history and the board. A slow browser or a full disk does not hold it up."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable

from contracts.errors import PhasewatchError, RowError
from contracts.events.envelope import Data, Event, decode_event
from contracts.events.payloads import EpisodeData, GapData, WindowData
from contracts.shell.broker import Broker
from edge.audit.ear import Ear
from edge.audit.streams import Auditor, Finding
from edge.dashboard.board import Board, Standing
from edge.dashboard.history import Gap, History, now_ns
from edge.deliver.line import Heard

log = logging.getLogger("edge.dashboard")

COMMIT_S, PRUNE_S = 1.0, 3600.0
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
        self.problem: str | None = "not connected yet"
        """Why nothing comes, if nothing does."""
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

    def _say(self, line: str) -> None:
        log.info("%s", line)
        self.problem = None if line.startswith("listening") else line

    def _run(self) -> None:
        committed = pruned = time.monotonic()
        while not self._stop.is_set():
            try:
                for heard in self._ear.listen(0.2):
                    self._take(heard)
                now = time.monotonic()
                if now - committed >= COMMIT_S:
                    self._history.commit()
                    committed = now
                if now - pruned >= PRUNE_S:
                    self._history.prune(now_ns())
                    pruned = now
            except PhasewatchError as error:
                self._say(str(error))
                self._stop.wait(5)
            except sqlite3.Error as error:  # a full disk passes; what is shown goes on
                self._say(f"the history cannot be written: {error}")
                self._stop.wait(1)

    def _take(self, heard: Heard) -> None:
        levels = heard.topic.split("/")
        if len(levels) == 3:
            if heard.payload in (b"online", b"stopped", b"offline"):
                self._node(levels[1], heard.payload.decode())
            return
        if not heard.payload:
            return
        findings = list(self._auditor.hear(heard.topic, heard.payload, retained=heard.retained))
        try:
            event = decode_event(heard.payload, heard.topic)
        except RowError:
            event = None
        if event is None or any(one.what == "violation" for one in findings):
            self.strange += 1
            return
        _, node, guest, _ = levels
        if len(self._board.guests) >= _GUESTS and (node, guest) not in self._board.guests:
            self.strange += 1
            return
        number = self._history.guest(node, guest)
        at = now_ns()
        self._history.add(number, event, heard.payload, at)
        with self._board.lock:
            one = self._board.standing(node, guest, number)
            self._show(one, event, at)
            for finding in findings:
                self._gap(one, finding, at)
            self._board.version += 1

    def _show(self, one: Standing, event: Event[Data], at: int) -> None:
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
                self._history.add_gap(one.number, Gap(run.first, run.last, data.cause, one.episode, one.last_ns), at)
        one.heard_ns = max(one.heard_ns, at)

    def _gap(self, one: Standing, finding: Finding, at: int) -> None:
        if finding.run is None or finding.where.endswith("/perf"):  # which may get lost
            return
        first, last = finding.run
        if finding.what == "late":
            one.missing -= 1
            return
        one.missing += last - first + 1
        self._history.add_gap(one.number, Gap(first, last, "unknown", one.episode, one.last_ns), at)

    def _node(self, node: str, state: str) -> None:
        at = now_ns()
        self._history.set_node(node, state, at)
        with self._board.lock:
            self._board.nodes[node] = (state, at)
            self._board.version += 1
