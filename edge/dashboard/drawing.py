"""Timelines and sparklines, as SVG made here. Phases are told apart by letter and hatch too, not by colour alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby, pairwise

from contracts.features.schema import SECOND
from contracts.vocabulary import PHASES, SOURCES, Phase
from edge.dashboard.packing import Shown
from edge.dashboard.rows import Gap

STRIDE_NS = 5 * SECOND
LETTERS: dict[Phase | None, str] = {
    "clean": "C", "armed": "A", "infecting": "I", "infected_running": "R", "dormant": "D", None: "?",
}  # fmt: skip
Place = Callable[[int], float]
"""From a time to where it is drawn."""
COLUMNS = 480
"""A timeline has no more; several windows share one, and the worst of them is shown."""
_WORST = {
    phase: rank for rank, phase in enumerate([None, "clean", "armed", "dormant", "infecting", "infected_running"])
}


class Wide:
    """A screen, in the units of the drawing."""

    name, width, left, ticks = "wide", 1000, 78, 9


class Narrow:
    """A phone: the same with fewer and larger words."""

    name, width, left, ticks = "narrow", 390, 58, 4


Size = type[Wide] | type[Narrow]
_BAND, _TRUTH, _CHANCES, _OBSERVED = (14, 30), (48, 12), (68, 70), (146, 12)
HEIGHT = 216


def hatches(key: str) -> str:
    """One pattern for each phase. key: makes their ids the page's own."""
    strokes = {
        "armed": "M0 6L6 0", "infecting": "M0 0L6 6", "infected_running": "M0 3H6M3 0V6", "dormant": "M3 0V6",
        "undecided": "M0 3H6",
    }  # fmt: skip
    return "<defs>" + "".join(
        f'<pattern id="h-{key}-{name}" width="6" height="6" patternUnits="userSpaceOnUse">'
        f'<path class="hatch" d="{path}"/></pattern>'
        for name, path in strokes.items()
    ) + "</defs>"  # fmt: skip


def of_phase(phase: Phase | None) -> str:
    """Its class."""
    return phase or "undecided"


def sparkline(recent: Sequence[tuple[int, Phase | None, bool]], key: str) -> str:
    """The last hour: a strip of phases, with a line where the alarm was up."""
    if not recent:
        return ""
    last = recent[-1][0]
    # an hour, or as much of it as there is, but for the first minutes
    first = last - min(720 * STRIDE_NS, max(60 * STRIDE_NS, last - recent[0][0] + STRIDE_NS))

    def x(end_ns: int) -> float:
        return 240 * max(0, end_ns - first) / (last - first)

    parts = [f'<svg class="spark" viewBox="0 0 240 20" role="img" aria-label="the last hour">{hatches(key)}']
    for phase, run in groupby(recent, key=lambda one: one[1]):
        some = list(run)
        start, end = x(some[0][0] - STRIDE_NS), x(some[-1][0])
        parts.append(_block(phase, start, 4, end - start, 14, key))
    for alarm, run in groupby(recent, key=lambda one: one[2]):
        some = list(run)
        if alarm:
            start, end = x(some[0][0] - STRIDE_NS), x(some[-1][0])
            parts.append(f'<rect class="alarm" x="{start:.1f}" y="0" width="{max(end - start, 1):.1f}" height="3"/>')
    return "".join([*parts, "</svg>"])


def _block(phase: Phase | None, x: float, y: float, width: float, height: float, key: str) -> str:
    name, where = of_phase(phase), f'x="{x:.1f}" y="{y}" width="{max(width, 0.5):.1f}" height="{height}"'
    hatch = "" if phase == "clean" else f'<rect fill="url(#h-{key}-{name})" {where}/>'
    return f'<rect class="p-{name}" {where}/>{hatch}'


def columns(windows: Iterable[Shown], first_ns: int, last_ns: int) -> list[Shown]:
    """At most `COLUMNS` of them: of those that share one, the worst."""
    step = max(STRIDE_NS, (last_ns - first_ns) // COLUMNS)
    found: dict[int, Shown] = {}
    for one in windows:
        place = (one.end_ns - first_ns) // step
        other = found.get(place)
        if other is None or (one.alarm, _WORST[one.told]) > (other.alarm, _WORST[other.told]):
            found[place] = one
    return [found[place] for place in sorted(found)]


def timeline(
    windows: Sequence[Shown], gaps: Sequence[Gap], first_ns: int, last_ns: int, size: Size, style: str = ""
) -> str:
    """Phases as told, truth beneath where it is known, probabilities, observed shares; alarms, gaps, clock steps.
    style: for a drawing that leaves the page."""
    span = max(last_ns - first_ns, STRIDE_NS)
    step = max(STRIDE_NS, span // COLUMNS)
    inner = size.width - size.left - 8

    def x(ns: int) -> float:
        return size.left + inner * min(max((ns - first_ns) / span, 0.0), 1.0)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="timeline {size.name}" role="img"'
        f' viewBox="0 0 {size.width} {HEIGHT}" aria-label="{len(windows)} windows" data-first="{first_ns}"'
        f' data-last="{last_ns}" data-left="{size.left}" data-inner="{inner}" data-width="{size.width}">',
        style + hatches(size.name),
        *(f'<text class="label" x="0" y="{y}">{text}</text>' for text, y in _labels()),
    ]
    runs = _runs(windows, step)
    for run in runs:
        for told, some in groupby(run, key=lambda one: one.told):
            part = list(some)
            start, end = x(part[0].end_ns - step), x(part[-1].end_ns)
            parts.append(_block(told, start, _BAND[0], end - start, _BAND[1], size.name))
            if end - start > 14:
                parts.append(f'<text class="letter" x="{(start + end) / 2:.1f}" y="34">{LETTERS[told]}</text>')
        for truth, some in groupby(run, key=lambda one: one.truth):
            part = list(some)
            if truth is not None:
                start, end = x(part[0].end_ns - step), x(part[-1].end_ns)
                parts.append(_block(truth, start, _TRUTH[0], end - start, _TRUTH[1], size.name))
        parts += _chances(run, x, step)
        parts += _observed(run, x, step)
        for alarm, some in groupby(run, key=lambda one: one.alarm):
            part = list(some)
            if alarm:
                start, end = x(part[0].end_ns - step), x(part[-1].end_ns)
                parts.append(
                    f'<rect class="alarm" x="{start:.1f}" y="6" width="{max(end - start, 2):.1f}" height="6"/>'
                )
    for before, after in pairwise(runs):
        start, end = x(before[-1].end_ns), x(after[0].end_ns - step)
        parts.append(f'<rect class="missing" x="{start:.1f}" y="14" width="{max(end - start, 1):.1f}" height="184"/>')
    for one in windows:
        if one.clock_set or "clock_step" in one.flags:
            parts.append(f'<path class="clock" d="M{x(one.end_ns):.1f} 2V200"><title>the clock was set</title></path>')
    for gap in gaps:
        if gap.at_ns is not None and first_ns <= gap.at_ns <= last_ns:
            known = "told by the agent" if gap.cause != "unknown" else "nobody knows why"
            title = f"{gap.last - gap.first + 1} events are missing: {known}"
            parts.append(f'<path class="gap" d="M{x(gap.at_ns):.1f} 0l5 8h-10z"><title>{title}</title></path>')
    parts += _axis(first_ns, last_ns, x, size)
    parts.append('<path class="cursor" d="M-9 0V200"/></svg>')
    return "".join(parts)


def _labels() -> list[tuple[str, int]]:
    words = [("phase", 33), ("truth", 58), ("chances", 106)]
    return words + [(source, _OBSERVED[0] + 10 + i * (_OBSERVED[1] + 1)) for i, source in enumerate(SOURCES)]


def _runs(windows: Sequence[Shown], step: int) -> list[list[Shown]]:
    """Windows without a break between them."""
    runs: list[list[Shown]] = []
    for one in windows:
        if runs and one.end_ns - runs[-1][-1].end_ns <= step * 1.5 + STRIDE_NS:
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


def _chances(run: Sequence[Shown], x: Place, step: int) -> list[str]:
    """Stacked areas, in steps."""
    top, height = _CHANCES
    edges = [[0.0] * len(run)]
    for i in range(len(PHASES)):
        edges.append([edges[-1][k] + one.probabilities[i] for k, one in enumerate(run)])
    found = []
    for i, phase in enumerate(PHASES):
        points = []
        for k, one in enumerate(run):
            y = top + height * (1 - min(edges[i + 1][k], 1.0))
            points += [f"{x(one.end_ns - step):.1f},{y:.1f}", f"{x(one.end_ns):.1f},{y:.1f}"]
        for k in range(len(run) - 1, -1, -1):
            y = top + height * (1 - min(edges[i][k], 1.0))
            points += [f"{x(run[k].end_ns):.1f},{y:.1f}", f"{x(run[k].end_ns - step):.1f},{y:.1f}"]
        found.append(f'<polygon class="p-{phase}" points="{" ".join(points)}"/>')
    return found


def _observed(run: Sequence[Shown], x: Place, step: int) -> list[str]:
    found = []
    for i in range(len(SOURCES)):
        y = _OBSERVED[0] + i * (_OBSERVED[1] + 1)
        shares = [(one.end_ns, _tenths(one.observed[i])) for one in run]
        for share, some in groupby(shares, key=_second):
            part = list(some)
            start, end = x(part[0][0] - step), x(part[-1][0])
            if share is not None:
                height = max(1.0, 10 * share)
                where = f'x="{start:.1f}" y="{y + 11 - height:.1f}" width="{end - start:.1f}"'
                found.append(f'<rect class="seen" {where} height="{height:.1f}"/>')
    return found


def _second(one: tuple[int, float | None]) -> float | None:
    return one[1]


def _tenths(share: float | None) -> float | None:
    return None if share is None else round(share, 1)


def _axis(first_ns: int, last_ns: int, x: Place, size: Size) -> list[str]:
    span = last_ns - first_ns
    steps = (10, 30, 60, 300, 600, 1800, 3600, 7200, 14_400, 43_200, 86_400, 604_800)
    step = next((one * SECOND for one in steps if span <= one * SECOND * size.ticks), 604_800 * SECOND)
    found, at = [], -(-first_ns // step) * step
    while at <= last_ns:
        moment = datetime.fromtimestamp(at // SECOND, UTC)
        form = "%H:%M:%S" if step < 60 * SECOND else "%H:%M" if step < 86_400 * SECOND else "%d %b"
        found.append(f'<path class="tick" d="M{x(at):.1f} 200v4"/>')
        if x(at) < size.width - 26:  # room for half of it
            found.append(f'<text class="time" x="{x(at):.1f}" y="214">{moment:{form}}</text>')
        at += step
    return found
