"""The guests that are watched now: collectors, feed and agent of each. They come and go with the configuration."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from contracts.events.payloads import SourcePerf
from contracts.features.schema import FeatureSchema
from contracts.telemetry.rows import NetflowRow
from contracts.vocabulary import Source
from edge.collectors.base import Collector, Stamp, Taken
from edge.collectors.find import Known, Where
from edge.collectors.guest_agent import GuestAgent
from edge.collectors.guest_feed import GuestFeed
from edge.collectors.proc import ProcCollector
from edge.collectors.qmp import QmpCollector
from edge.collectors.supervise import State, Supervised
from edge.config import Config, Guest
from edge.deliver.outbox import Outbox
from edge.feeds.live import Live
from edge.model.models import Models
from edge.model.timings import latency_of
from edge.record.keeper import Keeper, Kept
from edge.watch.agent import Agent
from edge.watch.evidence import moment
from edge.watch.health import Health
from edge.watch.subject import Subject

_log = logging.getLogger("edge")
JOIN_S = 3.0
"""How long the collectors of a guest are waited for when it is no longer watched."""


class Watched:
    """One guest."""

    def __init__(self, guest: Guest, config: Config, node: str, shared: Shared, at: Stamp) -> None:
        self.guest, self.sources = guest, config.sources(guest)
        self.health = Health(sources=self._perf, disk=shared.outbox.path.absolute().parent)
        agent = Agent(shared.models, shared.schema, node=node, outbox=shared.outbox, health=self.health)
        subject = Subject(
            mode="live",
            host_id=guest.host or node,
            guest_id=guest.id,
            episode_id=f"{guest.id}-{moment(at.wall_ns)}",
            guest_addresses=frozenset(guest.addresses),
            sources=self.sources,
            started_wall_ns=at.wall_ns,
            evidence=shared.kept is not None and shared.kept.evidence is not None,
        )
        self.live = Live(agent, subject, None if shared.kept is None else Keeper(shared.kept, {}))
        self.live.begin(at)
        self.supervised: list[Supervised] = []
        self._shared = shared

    def collect(self) -> None:
        """Start its collectors."""
        known = Known()
        self.supervised = [
            Supervised(collector, self.live.put, f"{self.guest.id} {collector.source}")
            for collector in collectors_of(self.guest, known)
        ]
        for one in self.supervised:
            one.start()

    def use(self, guest: Guest, config: Config) -> bool:
        """Another configuration of it: the watch goes on with other collectors. False where only a new watch will do:
        its identity, or what of it is watched, is another."""
        same = (guest.host, guest.addresses, config.sources(guest))
        if same != (self.guest.host, self.guest.addresses, self.sources):
            return False
        if guest != self.guest:
            self.quiet()
            self.guest = guest
            self.collect()
            _log.info("%s: collectors start anew", guest.id)
        return True

    def quiet(self) -> None:
        """Stop its collectors."""
        for one in self.supervised:
            one.stop()
        until = time.monotonic() + JOIN_S
        for one in self.supervised:
            one.join(max(0.0, until - time.monotonic()))

    def end(self, at: Stamp) -> None:
        """The watch ends."""
        self.quiet()
        self.live.end(at)

    @property
    def collectors(self) -> list[Supervised]:
        """Its own, and netflow's, which it shares."""
        netflow = self._shared.netflow
        return [*self.supervised, netflow] if netflow is not None and "netflow" in self.sources else self.supervised

    def _perf(self, observed: dict[Source, float]) -> dict[Source, SourcePerf]:
        states = [one.state() for one in self.collectors]
        return {
            state.source: source_perf(state, self.live.late[state.source], observed.get(state.source))
            for state in states
        }


class Shared:
    """What all guests have in common."""

    def __init__(self, models: Models, schema: FeatureSchema, outbox: Outbox, kept: Kept | None) -> None:
        self.models, self.schema, self.outbox, self.kept = models, schema, outbox, kept
        self.netflow: Supervised | None = None


class Guests:
    """All that are watched."""

    def __init__(self, node: str, shared: Shared, clock: Callable[[], Stamp]) -> None:
        self._node, self.shared, self._clock = node, shared, clock
        self._watched: dict[str, Watched] = {}

    @property
    def watched(self) -> list[Watched]:
        """In the order of the configuration."""
        return list(self._watched.values())

    def use(self, config: Config) -> None:
        """Those of a configuration: others end, new ones begin, and the rest goes on."""
        for name in self._watched.keys() - {guest.id for guest in config.guest}:
            self._watched.pop(name).end(self._clock())
        for guest in config.guest:
            known = self._watched.get(guest.id)
            if known is not None and known.use(guest, config):
                continue
            if known is not None:
                known.end(self._clock())
            watched = Watched(guest, config, self._node, self.shared, self._clock())
            self._watched[guest.id] = watched
            watched.collect()

    def flows(self, source: Source, taken: Sequence[Taken]) -> None:
        """Flow records, from netflow's thread: each guest takes its own."""
        for one in list(self._watched.values()):
            if "netflow" in one.sources:
                one.live.put(source, [some for some in taken if isinstance(some.row, NetflowRow)])

    def turn(self, at: Stamp) -> None:
        """Time has passed."""
        for one in self._watched.values():
            one.live.turn(at)

    def end(self) -> None:
        """Every watch ends."""
        for one in self._watched.values():
            for supervised in one.supervised:
                supervised.stop()
        at = self._clock()
        for one in self._watched.values():
            one.end(at)
        self._watched = {}


def collectors_of(guest: Guest, known: Known) -> list[Collector]:
    """Those of one guest; netflow's is shared."""
    found: list[Collector] = []
    if guest.qmp is not None:
        found.append(QmpCollector(Path(guest.qmp), known, guest.id))
    if guest.qmp is not None or guest.pidfile or guest.name or guest.libvirt:
        where = Where(
            pidfile=None if guest.pidfile is None else Path(guest.pidfile), name=guest.name, libvirt=guest.libvirt
        )
        found.append(ProcCollector(where, known, guest.tap))
    if guest.feed is not None:
        found.append(GuestFeed(Path(guest.feed)))
    if guest.agent is not None:
        found.append(GuestAgent(Path(guest.agent)))
    return found


def source_perf(state: State, late: int, observed: float | None) -> SourcePerf:
    """As a perf event says it."""
    return SourcePerf(
        up=state.up,
        problem=None if state.problem is None else f"{state.problem}; {state.remedy}",
        rows=state.rows,
        failures=state.failures,
        skipped=state.skipped,
        late=late,
        took_ms=latency_of(state.took_ms),
        lag_ms=latency_of(state.lag_ms),
        observed=observed,
        counts=state.counts,
        notes=state.notes,
    )
