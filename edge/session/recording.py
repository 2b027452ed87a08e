"""`edge record` and the lab: one guest's collectors, whose rows go to a labelled episode and to no model.

collectors → live feed (the order in which rows came) → labelled episode
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from contracts.telemetry.rows import Row
from contracts.vocabulary import Phase, Source
from edge.collectors.base import Stamp, Taken, now
from edge.collectors.find import Known
from edge.collectors.netflow import NetflowCollector
from edge.collectors.supervise import Supervised
from edge.config import Config, Guest
from edge.config.reading import host_and_port
from edge.feeds.live import Live
from edge.record.labelled import About, Labelled
from edge.session.boots import Boots
from edge.session.guests import JOIN_S, collectors_of
from edge.watch.subject import Subject

MOST_LAGS = 100_000
Facts = Callable[[], Mapping[str, object]]


class Unwatched:
    """In the place of an agent: nobody looks."""

    windows = 0
    evidence = None

    def begin(self, subject: Subject) -> None:
        """Nothing is watched."""

    def feed(self, source: Source, row: Row) -> None:
        """Nobody looks at it."""

    def advance(self, now_ns: int) -> None:
        """No window is due."""

    def clock_set(self, before_ns: int, after_ns: int) -> None:
        """No window is marked."""

    def finish(self, wall_ns: int) -> None:
        """Nothing is left."""

    def end(self) -> None:
        """Nothing ends."""


class Recording:
    """One guest. `collect`, then `begin`, `turn` several times a second, `mark`, `end`, `close`.

    All but `collect` and `close` raise `StorageError` when the disk will not.
    """

    def __init__(self, guest: Guest, config: Config, state: Path | None) -> None:
        """state: where boots of exporters are kept, if anywhere."""
        self.guest, self.sources = guest, config.sources(guest)
        self._config, self._boots = config, None if state is None else Boots(state)
        self._supervised: list[Supervised] = []
        self._live: Live | None = None
        self._labelled: Labelled | None = None
        self._lags: dict[Source, list[float]] = defaultdict(list)
        self._before: Mapping[Source, tuple[int, int]] = {}
        self._more: Facts | None = None

    def collect(self) -> None:
        """Start the collectors; what they bring is thrown away until recording begins."""
        known = Known()
        collectors = collectors_of(self.guest, known)
        if "netflow" in self.sources and self._config.netflow is not None:
            table = self._config.netflow
            host, port = host_and_port(table.listen)
            boots = {} if self._boots is None else self._boots.known
            keep = (lambda _boots: None) if self._boots is None else self._boots.keep
            collectors.append(NetflowCollector(host, port, table.exporters, boots, keep))
        self._supervised = [
            Supervised(collector, self._put, f"{self.guest.id} {collector.source}") for collector in collectors
        ]
        for one in self._supervised:
            one.start()

    @property
    def down(self) -> dict[Source, str]:
        """Sources that are not up, and why."""
        return {one.collector.source: why for one in self._supervised if (why := one.down) is not None}

    def begin(
        self, store: Path, about: About, phase: Phase, name: str, host_id: str, at: Stamp, more: Facts | None = None
    ) -> Labelled:
        """The episode begins with a phase. more: what else is known of the host when it ends."""
        self._forget_lags()
        self._more = more
        labelled = Labelled(store, about, phase, self.facts)
        subject = Subject(
            mode="live",
            host_id=host_id,
            guest_id=self.guest.id,
            episode_id=name,
            guest_addresses=frozenset(self.guest.addresses),
            sources=self.sources,
            started_wall_ns=at.wall_ns,
        )
        live = Live(Unwatched(), subject, labelled)
        live.begin(at)
        labelled.first(*at)
        self._labelled, self._live = labelled, live
        return labelled

    def turn(self) -> None:
        """Take what has come."""
        assert self._live is not None, "begin() comes first"
        self._listen_to_lags()
        self._live.turn(now())

    def mark(self, phase: Phase, at: Stamp) -> None:
        """It is another phase since then. Raises `LabelError`."""
        assert self._labelled is not None, "begin() comes first"
        self._labelled.mark(phase, at.wall_ns, at.mono_ns)

    def end(self) -> list[Path]:
        """The episode is whole; the folders of all that were (there are several where the clock was set)."""
        assert self._live is not None, "begin() comes first"
        assert self._labelled is not None
        self._live.end(now())  # which asks for the facts
        self._live = None
        return self._labelled.finished

    def close(self) -> None:
        """Stop the collectors; an episode that has not ended stays unfinished."""
        for one in self._supervised:
            one.stop()
        for one in self._supervised:
            one.join(JOIN_S)
        if self._labelled is not None:
            self._labelled.abandon()

    def facts(self) -> Mapping[str, object]:
        """How the sampling fared since the episode began: lateness of ticks and rows in ms, and what was missed."""
        self._listen_to_lags()
        fared: dict[str, object] = {}
        for one in self._supervised:
            state, source = one.state(), one.collector.source
            lags = self._lags[source]
            before = self._before.get(source, (0, 0))
            fared[source] = {
                "late_ms": None if not lags else _quantiles(lags),
                "skipped": state.skipped - before[0],
                "failures": state.failures - before[1],
                **({"late_rows": late} if self._live is not None and (late := self._live.late[source]) else {}),
            }
        self._forget_lags()
        return {"sampling": fared, **({} if self._more is None else self._more())}

    def _forget_lags(self) -> None:
        self._lags = defaultdict(list)
        states = [one.state() for one in self._supervised]
        self._before = {state.source: (state.skipped, state.failures) for state in states}

    def _listen_to_lags(self) -> None:
        for one in self._supervised:
            kept = self._lags[one.collector.source]
            kept += one.state().lag_ms[: max(0, MOST_LAGS - len(kept))]

    def _put(self, source: Source, taken: Sequence[Taken]) -> None:
        live = self._live
        if live is not None:
            live.put(source, taken)


def _quantiles(lags: Sequence[float]) -> dict[str, float]:
    order = sorted(lags)
    at = {"p50": 0.5, "p99": 0.99, "most": 1.0}
    return {name: round(order[min(len(order) - 1, int(share * len(order)))], 3) for name, share in at.items()}
