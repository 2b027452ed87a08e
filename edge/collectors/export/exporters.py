"""What is known of each exporter, and what is counted of all: bounded, whoever sends."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from edge.collectors.export.fields import Values
from edge.collectors.export.templates import Templates
from edge.collectors.export.uptime import Boot, since_ms

MOST_EXPORTERS = 64
"""By address and observation domain; the one that was heard of least lately goes."""
MOST_HELD = 1024
"""Flows of one exporter that wait for the time of its boot."""
MOST_LOST = 1 << 20
"""A sequence number that jumps by more has begun anew."""


@dataclass
class Counts:
    """What came, and what became of it."""

    datagrams: int = 0
    flows: int = 0
    malformed: int = 0
    """Datagrams, sets, templates or records that break their format."""
    untemplated: int = 0
    """Sets whose template was not said, or not yet."""
    lost: int = 0
    """Flows (v5, IPFIX) or datagrams (v9) that the sequence numbers say were sent and did not come."""
    held: int = 0
    """Flows that wait for the time of their exporter's boot."""
    dropped: int = 0
    """Flows that waited among too many."""
    restarts: int = 0
    """Exporters that began to count anew, or whose clock was set."""


class Timed(NamedTuple):
    """A flow by uptimes, until its exporter's boot is known, and when it came."""

    values: Values
    recv_wall_ns: int
    recv_mono_ns: int


@dataclass
class Exporter:
    """One observation domain of one exporter."""

    boot: Boot = field(default_factory=Boot)
    templates: Templates = field(default_factory=Templates)
    before: tuple[int, int] | None = None
    """Sequence number and flows of the datagram before."""
    boot_ms: int | None = None
    """As the exporter says, Unix ms."""
    held: list[Timed] = field(default_factory=list)


class Exporters:
    """All that send here."""

    def __init__(self, counts: Counts, boots: Mapping[str, int]) -> None:
        self._counts, self._boots = counts, dict(boots)
        self._known: OrderedDict[tuple[str, int, int], Exporter] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    @property
    def boots(self) -> dict[str, int]:
        """By name, Unix ms; also of those that have not spoken since."""
        known = {_name(*key): one.boot_ms for key, one in self._known.items() if one.boot_ms is not None}
        return dict([*self._boots.items(), *known.items()][-MOST_EXPORTERS:])

    def known(self, exporter: str, version: int, domain: int) -> Exporter:
        """What is known of one; at first nothing."""
        key = exporter, version, domain
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Exporter(boot_ms=self._boots.pop(_name(*key), None))
            if len(self._known) > MOST_EXPORTERS:
                _, gone = self._known.popitem(last=False)
                self._counts.held -= len(gone.held)
                self._counts.dropped += len(gone.held)
        self._known.move_to_end(key)
        return known

    def follows(self, known: Exporter, sequence: int, count: int) -> None:
        """Sequence numbers that jump ahead tell of losses; one that falls back, of another beginning.

        A number counts what was sent before its datagram (RFC 7011, 3.1), or, from softflowd, what was sent with it.
        """
        if known.before is not None:
            last, sent = known.before
            gap = min(since_ms(sequence, last + some) for some in (sent, count))
            self._counts.lost += gap if 0 < gap < MOST_LOST else 0
        known.before = sequence, count

    def moment(self, known: Exporter, uptime: int, low: int, high: int, recv_wall_ns: int) -> int:
        """When a header left, Unix ns: as `Boot.wall_ns`."""
        before = known.boot.restarts
        moment = known.boot.wall_ns(uptime, low, high, recv_wall_ns)
        self._counts.restarts += known.boot.restarts - before
        return moment

    def hold(self, known: Exporter, timed: list[Timed]) -> None:
        """Flows wait; the oldest go where there are too many."""
        known.held += timed
        over = max(0, len(known.held) - MOST_HELD)
        del known.held[:over]
        self._counts.dropped += over
        self._counts.held += len(timed) - over

    def released(self, known: Exporter) -> list[Timed]:
        """Those that wait, once."""
        held, known.held = known.held, []
        self._counts.held -= len(held)
        return held


def _name(exporter: str, version: int, domain: int) -> str:
    return f"{exporter} v{version} domain {domain}"
