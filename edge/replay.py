"""A recording as if it were happening: rows in the order and at the times at which they arrived."""

from __future__ import annotations

import time
from collections.abc import Iterator
from operator import itemgetter

from contracts.features import FeatureSchema
from contracts.phases import Source
from contracts.telemetry.episode import Episode
from contracts.telemetry.rows import Row, arrival_ns
from edge.agent import Agent
from edge.watch import Subject


def subject_of(episode: Episode) -> Subject:
    """What a recording says about itself."""
    manifest = episode.manifest
    return Subject(
        mode="replay",
        host_id=manifest.host_id,
        guest_id=manifest.guest_id,
        episode_id=manifest.episode_id,
        guest_addresses=frozenset(manifest.guest_addresses),
        sources=tuple(episode.rows),
        started_wall_ns=manifest.started_wall_ns,
        ended_wall_ns=manifest.ended_wall_ns,
        profile=manifest.profile,
        sample_name=manifest.sample_name,
        labels=episode.labels,
    )


def arrivals(episode: Episode) -> Iterator[tuple[int, Source, Row]]:
    """All rows as (arrival in Unix ns, source, row), by arrival."""
    every = [(arrival_ns(row), source, row) for source, rows in episode.rows.items() for row in rows]
    every.sort(key=itemgetter(0))  # stable: rows of one moment keep the order in which they were recorded
    return iter(every)


class Pace:
    """A clock that runs `speed` times as fast as the wall's; None runs as fast as it can."""

    def __init__(self, start_ns: int, speed: float | None) -> None:
        self._start_ns, self._speed, self._began = start_ns, speed, time.monotonic()

    def wait_until(self, t_wall_ns: int) -> None:
        """Sleep until the recording's time has come."""
        if self._speed is not None:
            ahead = (t_wall_ns - self._start_ns) / 1e9 / self._speed - (time.monotonic() - self._began)
            if ahead > 0.005:  # rows lie closer together than a sleep is exact
                time.sleep(ahead)


def replay(agent: Agent, episode: Episode, schema: FeatureSchema, speed: float | None) -> None:
    """Run one recording through the agent. Only rows that had arrived by a window's settling are known to it."""
    manifest = episode.manifest
    pace = Pace(manifest.started_wall_ns, speed)
    agent.begin(subject_of(episode))
    over = manifest.ended_wall_ns + schema.settle_ns
    for arrival, source, row in arrivals(episode):
        if arrival > over:
            break  # it can count in no window any more
        pace.wait_until(arrival)
        agent.advance(arrival - 1)  # a row that arrives in the very moment of settling still counts
        agent.feed(source, row)
    pace.wait_until(over)
    agent.advance(over)
    agent.end()
