"""What each page shows, as plain data: made from the board and the history, and of nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from contracts.events.envelope import decode_event
from contracts.events.payloads import ConfusionData, MetricsData, PerfData, ProfilesData
from contracts.features.schema import feature_schema
from contracts.vocabulary import PHASES, SOURCES
from edge.dashboard.board import Board, Standing, State
from edge.dashboard.drawing import LETTERS, STRIDE_NS, Narrow, Wide, columns, of_phase, sparkline, timeline
from edge.dashboard.history import History, now_ns
from edge.dashboard.rows import Alarm, Episode

_SECOND = 1_000_000_000
SPAN_NS = 3600 * _SECOND
_ORDER: dict[State, int] = {"offline": 1, "stale": 2, "live": 3, "replay": 3, "waiting": 4, "stopped": 5}


@dataclass(frozen=True)
class Row:
    """One guest on the overview."""

    one: Standing
    state: State
    spark: str
    since: str
    seen: str
    alarm: str | None
    """Of an alarm that is up: since when, or when it was where the guest is watched no more."""
    past: bool


def copied(one: Standing) -> Standing:
    """As it stands at this moment. Hold the board's lock."""
    return dataclasses.replace(one, recent=one.recent.copy())


def words(ns: int | None, now: int | None = None) -> str:
    """A time as people say it: today's by the clock, others with their date."""
    if ns is None:
        return "–"
    moment = datetime.fromtimestamp(ns // _SECOND, UTC)
    today = datetime.fromtimestamp((now or now_ns()) // _SECOND, UTC).date()
    return f"{moment:%H:%M:%S}" if moment.date() == today else f"{moment:%d %b %Y %H:%M:%S}"


def ago(ns: int, now: int) -> str:
    """How long."""
    seconds = max(0, (now - ns) // _SECOND)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def overview(board: Board, asked: dict[str, str]) -> dict[str, Any]:
    """Alarms first. asked: search, node, phase, alarm."""
    now = now_ns()
    with board.lock:
        rows = [_row(board, copied(one), now) for one in board.guests.values() if _wanted(one, asked)]
        nodes = {node: state for node, (state, _) in sorted(board.nodes.items())}
        every = len(board.guests)
    rows.sort(key=lambda row: (not (row.one.alarm and not row.past), _ORDER[row.state], row.one.node, row.one.guest))
    return {"rows": rows, "nodes": nodes, "every": every, "asked": asked}


def _wanted(one: Standing, asked: dict[str, str]) -> bool:
    text = asked.get("search", "").lower()
    return (
        (not text or text in f"{one.node}/{one.guest}".lower())
        and asked.get("node", "") in ("", one.node)
        and asked.get("phase", "") in ("", of_phase(one.phase))
        and (asked.get("alarm", "") != "up" or one.alarm)
    )


def _row(board: Board, one: Standing, now: int) -> Row:
    state = one.state(board.nodes.get(one.node, (None, 0))[0], now)
    past = state in ("stopped", "offline")
    alarm = None
    if one.alarm and one.alarm_since_ns is not None:
        alarm = f"was up, {words(one.alarm_since_ns, now)}" if past else f"since {words(one.alarm_since_ns, now)}"
    seen = "–" if not one.heard_ns else f"{ago(one.heard_ns, now)} ago"
    return Row(one, state, sparkline(list(one.recent), f"g{one.number}"), words(one.since_ns, now), seen, alarm, past)


class Guest:
    """The page of one guest."""

    def __init__(self, board: Board, history: History, node: str, guest: str) -> None:
        """Raises `KeyError` where there is none."""
        self._board, self._history = board, history
        with board.lock:
            self.one = copied(board.guests[node, guest])
            self.availability = board.nodes.get(node, (None, 0))[0]
        self.number = self.one.number

    def episode(self, name: str | None) -> tuple[Episode | None, list[Episode]]:
        """The one that was asked for, or the last; and all."""
        every = self._history.episodes(self.number)
        chosen = next((one for one in every if one.name == name), None) if name else None
        return chosen or (every[0] if every else None), every

    def span(self, episode: Episode, first: int | None, last: int | None) -> tuple[int, int]:
        """The last hour of an episode, where no other stretch was asked for."""
        if first is not None and last is not None and 0 <= first < last < 1 << 62:
            return first, last
        recent = self._history.last_windows(self.number, episode.id, 1)
        end = recent[-1].end_ns if recent else now_ns()
        begins = next(iter(self._history.windows(self.number, episode.id)), None) if recent else None
        start = end - SPAN_NS if begins is None else max(end - SPAN_NS, begins.end_ns - STRIDE_NS)
        return start, max(end, start + 60 * _SECOND)

    def scene(self, asked: dict[str, str]) -> dict[str, Any]:
        """All of the page."""
        now = now_ns()
        episode, every = self.episode(asked.get("episode"))
        scene: dict[str, Any] = {
            "one": self.one, "state": self.one.state(self.availability, now), "episodes": every, "episode": episode,
            "now": now,
        }  # fmt: skip
        if episode is None:
            return scene
        first, last = self.span(episode, whole(asked.get("from")), whole(asked.get("to")))
        windows = columns(self._history.windows(self.number, episode.id, first, last), first, last)
        gaps = self._history.gaps(self.number, episode.id)
        length = last - first
        return scene | {
            "first": first, "last": last, "windows": windows, "gaps": gaps,
            "missing": sum(gap.last - gap.first + 1 for gap in gaps),
            "wide": timeline(windows, gaps, first, last, Wide), "narrow": timeline(windows, gaps, first, last, Narrow),
            "alarms": self._history.alarms(self.number, episode.id),
            "before": (first - length // 2, last - length // 2), "after": (first + length // 2, last + length // 2),
            "closer": (first + length // 4, last - length // 4), "wider": (first - length // 2, last + length // 2),
            "window": self.window(episode, whole(asked.get("at")), last),
        }  # fmt: skip

    def window(self, episode: Episode, at: int | None, last: int) -> dict[str, Any] | None:
        """The one under the cursor: the first that ends then or later; without a cursor the last of the stretch."""
        if at is None:
            near = list(self._history.windows(self.number, episode.id, last - SPAN_NS, last))[-1:]
        else:
            near = list(self._history.windows(self.number, episode.id, at, at + SPAN_NS))[:1]
            near = near or self._history.last_windows(self.number, episode.id, 1)
        if not near:
            return None
        one = near[0]
        return {
            "one": one,
            "bars": [(phase, LETTERS[phase], share) for phase, share in zip(PHASES, one.probabilities, strict=True)],
            "observed": [(source, share) for source, share in zip(SOURCES, one.observed, strict=True)],
            "top": [_channel(self._history.name(number), score) for number, score in one.top],
            "evidence": self._history.evidence(self.number, episode.id, one.end_ns) if one.alarm else None,
            "before": one.end_ns - STRIDE_NS, "after": one.end_ns + 1,
        }  # fmt: skip

    def rows(self, episode: Episode, first: int, last: int) -> Iterable[list[str]]:
        """As CSV has them, the header first."""
        shares = [f"observed {source}" for source in SOURCES]
        yield ["end", "decided", "phase", "truth", "shadow", "alarm", *PHASES, *shares, "flags", "channels"]
        for one in self._history.windows(self.number, episode.id, first, last):
            yield [
                str(one.end_ns), one.decided or "", one.phase or "", one.truth or "", one.shadow or "",
                str(int(one.alarm)),
                *(f"{share:.5f}" for share in one.probabilities),
                *("" if share is None else f"{share:.3f}" for share in one.observed),
                " ".join(one.flags), _cell(" ".join(self._history.name(number) for number, _ in one.top)),
            ]  # fmt: skip


_KNOWN = {channel.id: channel for channel in feature_schema().channels}


def _channel(name: str, score: float) -> tuple[str, str, float]:
    """Its name, what it is in words, and how far off it was."""
    channel = _KNOWN.get(name)
    if channel is None:
        return name, "", score
    return name, f"{channel.name.replace('_', ' ')} as {channel.source} sees it, {channel.unit}", score


def _cell(text: str) -> str:
    """Of a table that a spreadsheet opens: no text of ours is a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def whole(text: str | None) -> int | None:
    """A number in an address; None for anything else."""
    number = int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else None
    return number if number is not None and number < 1 << 62 else None


@dataclass(frozen=True)
class Card:
    """A bundle's scores, and the guests that it speaks of."""

    data: Any
    guests: list[str]
    time: str


def cards(board: Board, history: History, kind: str) -> list[Card]:
    """The newest of each bundle and basis; `metrics`, `confusion` or `profiles`."""
    with board.lock:
        names = {one.number: f"{one.node}/{one.guest}" for one in board.guests.values()}
    found: dict[tuple[str, str], Card] = {}
    for guest, payload in history.latest(kind):
        event = decode_event(payload)
        data = event.data
        assert isinstance(data, MetricsData | ConfusionData | ProfilesData)
        key = (data.bundle.name, data.basis)
        if key not in found:
            found[key] = Card(data, [], event.time)
        if guest in names:
            found[key].guests.append(names[guest])
    return sorted(found.values(), key=lambda card: (card.data.bundle.name, card.data.basis))


def heat(data: ConfusionData) -> list[tuple[str, list[tuple[int, float]]]]:
    """Rows of truth: counts and shares."""
    rows: list[tuple[str, list[tuple[int, float]]]] = []
    for label, counts in zip(data.labels, data.matrix, strict=False):
        total = sum(counts)
        rows.append((label, [(count, count / total if total else 0.0) for count in counts]))
    return rows


def performance(board: Board, history: History) -> list[dict[str, Any]]:
    """Each guest's last figures, and how the main ones went."""
    with board.lock:
        every = sorted(map(copied, board.guests.values()), key=lambda one: (one.node, one.guest))
    found = []
    for one in every:
        said = [(at, decode_event(payload).data) for at, payload in history.perfs(one.number, 30)]
        perfs = [(at, data) for at, data in said if isinstance(data, PerfData)]
        if perfs:
            found.append({
                "one": one, "last": perfs[-1][1], "at": perfs[-1][0],
                "lines": [(title, line([of(data) for _, data in perfs])) for title, of in _LINES],
            })  # fmt: skip
    return found


_LINES: tuple[tuple[str, Any], ...] = (
    ("inference p99, ms", lambda data: data.inference_ms.p99),
    ("CPU, cores", lambda data: data.cpu_share),
    ("memory, MB", lambda data: data.rss_bytes / 1e6),
    ("events that wait", lambda data: data.outbox_depth),
    ("temperature, °C", lambda data: data.temperature_c),
)


def line(values: list[float | None]) -> str:
    """A small line of figures, with the first and the last in words beside it."""
    known = [(i, value) for i, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return ""
    least, most = min(value for _, value in known), max(value for _, value in known)
    span = (most - least) or 1.0
    points = " ".join(f"{200 * i / (len(values) - 1):.1f},{28 - 24 * (value - least) / span:.1f}" for i, value in known)
    return (
        f'<svg class="line" viewBox="0 0 200 32" role="img" aria-label="from {least:.3g} to {most:.3g}">'
        f'<polyline points="{points}"/></svg>'
    )


def alarms(board: Board, history: History) -> list[tuple[str, str, Alarm]]:
    """The last hundred, with whose they are."""
    with board.lock:
        names = {one.number: (one.node, one.guest) for one in board.guests.values()}
    return [(*names[alarm.guest], alarm) for alarm in history.alarms() if alarm.guest in names]
