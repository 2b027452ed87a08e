"""A recording as if it were happening: rows in the order and at the times at which they arrived."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from contracts.features.schema import FeatureSchema
from contracts.telemetry.episode import Episode, read_manifest
from contracts.telemetry.parts import WatchPart, watch_part
from contracts.telemetry.rows import Row, arrival_ns
from contracts.vocabulary import Source
from edge.extract.sampled import CLOCK_TOLERANCE_NS
from edge.watch.agent import Agent
from edge.watch.subject import Subject


def subject_of(episode: Episode) -> Subject:
    """What a recording says about itself. A part of a live watch is of that watch, whose end is met when it comes."""
    manifest = episode.manifest
    part = watch_part(manifest, episode.path)
    return Subject(
        mode="replay",
        host_id=manifest.host_id,
        guest_id=manifest.guest_id,
        episode_id=manifest.episode_id if part is None else part.id,
        guest_addresses=frozenset(manifest.guest_addresses),
        sources=tuple(episode.rows),
        started_wall_ns=part.started_wall_ns if part is not None and part.part == 0 else manifest.started_wall_ns,
        ended_wall_ns=manifest.ended_wall_ns if part is None else None,
        evidence=part is not None and part.evidence,
        profile=manifest.profile,
        sample_name=manifest.sample_name,
        labels=episode.labels,
    )


class Arrival(NamedTuple):
    """A row that arrives. at_ns: by the wall clock, Unix ns; set_ns: by how much that clock was set just before."""

    at_ns: int
    set_ns: int
    source: Source
    row: Row


def arrivals(episode: Episode) -> Iterator[Arrival]:
    """All rows in the order in which they arrived: that of the wall clock, or where it was set meanwhile, of one that
    was not. A part of a live watch ends where the clock is set."""
    steps = [] if watch_part(episode.manifest, episode.path) else _clock_steps(episode)
    every = [
        (unset, source, row)
        for source, rows in episode.rows.items()
        for unset, row in zip(_unset([arrival_ns(row) for row in rows], steps), rows, strict=True)
    ]
    every.sort(key=itemgetter(0))  # stable: rows of one moment keep the order in which they were recorded
    moved, coming = 0, iter([*steps, None])
    step = next(coming)
    for unset, source, row in every:
        set_ns = 0
        while step is not None and unset >= step.after_ns - moved - step.moved_ns:
            moved, set_ns = moved + step.moved_ns, set_ns + step.moved_ns
            step = next(coming)
        yield Arrival(unset + moved, set_ns, source, row)


class _Step(NamedTuple):
    """The wall clock was set from one time to another, Unix ns."""

    before_ns: int
    after_ns: int

    @property
    def moved_ns(self) -> int:
        return self.after_ns - self.before_ns


def _clock_steps(episode: Episode) -> list[_Step]:
    """As the first of the sampled sources shows them by its monotonic clock, which all of the host's rows go by."""
    rows = next((some for source, some in episode.rows.items() if source != "netflow" and len(some) > 1), [])
    wall, mono = (np.array([getattr(row, name) for row in rows], np.int64) for name in ("t_wall_ns", "t_mono_ns"))
    apart = np.diff(wall - mono)
    at = np.flatnonzero(np.abs(apart) > CLOCK_TOLERANCE_NS)
    return [_Step(after - moved, after) for after, moved in zip(wall[at + 1].tolist(), apart[at].tolist(), strict=True)]


def _unset(arrived: list[int], steps: list[_Step]) -> list[int]:
    """What a wall clock that was never set would have said, for the arrivals of one source in the order of its file."""
    found, moved, last, coming = [], 0, 0, list(steps)
    for arrival in arrived:
        while coming and _is_past(coming[0], arrival, last):
            moved += coming.pop(0).moved_ns
        found.append(arrival - moved)
        last = arrival
    return found


def _is_past(step: _Step, arrival: int, last: int) -> bool:
    """Whether a row came after a step: it lies beyond the gap, or time went back, or beyond what there was before."""
    if step.moved_ns > 0:
        return arrival > (step.before_ns + step.after_ns) // 2
    return arrival < last - CLOCK_TOLERANCE_NS or arrival > step.before_ns + CLOCK_TOLERANCE_NS


class Pace:
    """A clock that runs `speed` times as fast as the wall's; None runs as fast as it can."""

    def __init__(self, start_ns: int, speed: float | None) -> None:
        self._start_ns, self._speed, self._began = start_ns, speed, time.monotonic()

    def clock_set(self, moved_ns: int) -> None:
        """The recording's clock was set, and no time passed by that."""
        self._start_ns += moved_ns

    def wait_until(self, t_wall_ns: int) -> None:
        """Sleep until the recording's time has come."""
        if self._speed is not None:
            ahead = (t_wall_ns - self._start_ns) / 1e9 / self._speed - (time.monotonic() - self._began)
            if ahead > 0.005:  # rows lie closer together than a sleep is exact
                time.sleep(ahead)


def replay(
    agent: Agent, episode: Episode, schema: FeatureSchema, speed: float | None, more: Iterable[Episode] = ()
) -> None:
    """Run one recording through the agent. Only rows that had arrived by a window's settling are known to it.

    more: of a live watch, the parts that follow, as `watches` groups them.
    """
    pace = Pace(episode.manifest.started_wall_ns, speed)
    agent.begin(subject_of(episode))
    if watch_part(episode.manifest, episode.path) is None:
        over = episode.manifest.ended_wall_ns + schema.settle_ns
        _run(agent, episode, pace, until_ns=over)
        pace.wait_until(over)
        agent.advance(over)
        agent.end()
        return
    _run(agent, episode, pace)
    for part in more:
        started, about = part.manifest.started_wall_ns, watch_part(part.manifest, part.path)
        if about is not None and about.moved_ns:
            agent.advance(started - about.moved_ns - 1)
            agent.clock_set(started - about.moved_ns, started)
            pace.clock_set(about.moved_ns)
        _run(agent, part, pace)
        episode = part
    pace.wait_until(episode.manifest.ended_wall_ns)
    agent.finish(episode.manifest.ended_wall_ns)
    agent.end()


def _run(agent: Agent, episode: Episode, pace: Pace, until_ns: int | None = None) -> None:
    """Feed its rows; those that arrive after `until_ns` (Unix ns) can count in no window any more."""
    for at_ns, set_ns, source, row in arrivals(episode):
        if set_ns:
            agent.clock_set(at_ns - set_ns, at_ns)
            pace.clock_set(set_ns)
        if until_ns is not None and at_ns > until_ns:
            continue
        pace.wait_until(at_ns)
        agent.advance(at_ns - 1)  # a row that arrives in the very moment of settling still counts
        agent.feed(source, row)


def watches(episodes: Sequence[Path]) -> list[list[Path]]:
    """Recordings, those together that are parts of one live watch and follow each other without a gap."""
    found: list[list[Path]] = []
    before: WatchPart | None = None
    for path in episodes:
        part = watch_part(read_manifest(path), path)
        follows = (
            part is not None
            and before is not None
            and (part.id, part.part, part.continues) == (before.id, before.part + 1, True)
        )
        if follows:
            found[-1].append(path)
        else:
            found.append([path])
        before = part
    return found
