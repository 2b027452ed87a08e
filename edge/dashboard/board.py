"""How every guest stands now. Made anew from the history at a start; what comes changes it."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from contracts.events.payloads import EpisodeData, WindowData
from contracts.vocabulary import Phase
from edge.dashboard.history import History
from edge.dashboard.packing import Shown

State = Literal["waiting", "live", "replay", "stale", "stopped", "offline"]
"""waiting: no window yet. live, replay: windows come. stale: they should, and do not. stopped: the watch has ended, or
its agent has, in order. offline: its agent is gone."""
HOUR = 720
"""Windows in an hour."""
STALE_NS = 20_000_000_000
"""Four strides."""


@dataclass
class Standing:
    """One guest. since_ns, last_ns: ends of windows; heard_ns: when the last event came, by this machine's clock."""

    number: int
    node: str
    guest: str
    episode: int | None = None
    mode: Literal["live", "replay"] = "live"
    ended: bool = False
    phase: Phase | None = None
    since_ns: int | None = None
    last_ns: int | None = None
    confidence: float | None = None
    alarm: bool = False
    alarm_since_ns: int | None = None
    observed: float | None = None
    missing: int = 0
    heard_ns: int = 0
    window_heard_ns: int = 0
    recent: deque[tuple[int, Phase | None, bool]] = field(default_factory=lambda: deque(maxlen=HOUR))

    def begin(self, episode: int) -> None:
        """Another watch or recording."""
        self.episode, self.ended = episode, False
        self.phase = self.since_ns = self.last_ns = self.confidence = self.observed = self.alarm_since_ns = None
        self.alarm = False
        self.recent.clear()

    def take(
        self, end_ns: int, decided: Phase | None, alarm: bool, most: float, least: float | None, *, anew: bool = False
    ) -> None:
        """A window; an older one that came late changes nothing. anew: the clock was set, and this is the present."""
        if anew and self.last_ns is not None and end_ns <= self.last_ns:
            self.recent.clear()
            self.last_ns = self.since_ns = None
        if self.last_ns is not None and end_ns <= self.last_ns:
            return
        if self.since_ns is None or decided != self.phase:
            self.since_ns = end_ns
        if alarm and not self.alarm:
            self.alarm_since_ns = end_ns
        self.phase, self.last_ns, self.confidence, self.alarm, self.observed = decided, end_ns, most, alarm, least
        self.recent.append((end_ns, decided, alarm))

    def state(self, availability: str | None, now_ns: int) -> State:
        """As of now."""
        if availability == "offline":
            return "offline"
        if availability == "stopped" or self.ended:
            return "stopped"
        if self.last_ns is None:
            return "waiting"
        if self.mode == "live" and now_ns - self.window_heard_ns > STALE_NS:
            return "stale"
        return self.mode


class Board:
    """All guests and nodes. Read by the pages' thread, written by the intake's."""

    def __init__(self, history: History) -> None:
        self.lock = threading.Lock()
        self.version = 0
        """Grows with every change."""
        self.nodes = history.nodes()
        self.guests: dict[tuple[str, str], Standing] = {}
        for (node, guest), number in history.guests().items():
            self.guests[node, guest] = _remembered(history, Standing(number, node, guest))

    def number(self, history: History) -> None:
        """By the numbers that the history has now. Hold the lock."""
        known = history.guests()
        self.guests = {key: one for key, one in self.guests.items() if key in known}
        for key, one in self.guests.items():
            one.number = known[key]

    def standing(self, node: str, guest: str, number: int) -> Standing:
        """Of a guest, which may be new. Hold the lock."""
        one = self.guests.setdefault((node, guest), Standing(number, node, guest))
        one.number = number
        return one

    def window(self, one: Standing, episode: int, data: WindowData, heard_ns: int) -> None:
        """Hold the lock."""
        if one.episode != episode:
            one.begin(episode)
        one.heard_ns = one.window_heard_ns = heard_ns
        observed, most = min(data.observed.values(), default=None), max(data.probabilities.values(), default=0.0)
        one.take(data.end_wall_ns, data.told, data.alarm, most, observed, anew=data.clock_set is not None)

    def episode(self, one: Standing, episode: int, data: EpisodeData, heard_ns: int) -> None:
        """Hold the lock."""
        if data.state == "ended" and one.episode not in (None, episode):
            return  # of one that is over already
        if one.episode != episode or data.state == "started":
            one.begin(episode)
        one.mode, one.ended, one.heard_ns = data.mode, data.state == "ended", heard_ns
        one.window_heard_ns = heard_ns


def _remembered(history: History, one: Standing) -> Standing:
    for episode in history.episodes(one.number, 1):
        one.begin(episode.id)
        windows: list[Shown] = history.last_windows(one.number, episode.id, HOUR)
        for shown in windows:
            observed = min((share for share in shown.observed if share is not None), default=None)
            one.take(shown.end_ns, shown.told, shown.alarm, max(shown.probabilities), observed)
        one.heard_ns = one.window_heard_ns = episode.heard_ns
        one.missing = history.missing(one.number)
        for alarm in history.alarms(one.number, episode.id):
            if not alarm.over:
                one.alarm_since_ns = alarm.start_ns
        if episode.said is not None:
            one.mode, one.ended = episode.said.mode, episode.said.state == "ended"
    return one
