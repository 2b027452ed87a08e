"""Rows to columns: each source becomes a few arrays of whole numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from contracts.channels import Channel
from contracts.phases import Source
from contracts.telemetry.rows import GuestRow, NetflowRow, ProcRow, Row

Ints = NDArray[np.int64]

FLOW_FIELDS = ("start", "end", "out", "syn", "packets", "bytes", "src", "dst", "sport", "dport", "proto")
_SYN, _ACK = 0x02, 0x10


@dataclass(frozen=True)
class Columns:
    """One source's rows, in the order in which they arrived.

    t_wall: (n,) int64, Unix ns, what everything is aligned by (a flow's end).
    t_mono: (n,) int64, ns; only differences within one source mean anything, and for flows not even those.
    arrival: (n,) int64, Unix ns, when the row could first be known.
    epoch: (n,) int64; counters of different epochs do not compare.
    fields: names of the rows of `values`.
    values: (len(fields), n) int64, raw counters and gauges.
    """

    t_wall: Ints
    t_mono: Ints
    arrival: Ints
    epoch: Ints
    fields: tuple[str, ...]
    values: Ints

    def before(self, wall_ns: int) -> Columns:
        """The rows that had arrived by a moment."""
        known = self.arrival <= wall_ns
        n = int(np.count_nonzero(known))
        if n == len(known):
            return self
        # a prefix, unless the wall clock went back
        at: slice | NDArray[np.bool_] = slice(n) if known[:n].all() else known
        return Columns(
            self.t_wall[at], self.t_mono[at], self.arrival[at], self.epoch[at], self.fields, self.values[:, at]
        )


def fields_of(channels: tuple[Channel, ...], source: Source) -> tuple[str, ...]:
    """The raw fields that a source's channels need, in the order of `Columns.values`."""
    if source == "netflow":
        return FLOW_FIELDS
    return tuple(sorted({cast(str, channel.field) for channel in channels if channel.source == source}))


def encoder(
    channels: tuple[Channel, ...], source: Source, guest_addresses: frozenset[str]
) -> Callable[[Row], tuple[int, ...]]:
    """A function from a row to `(t_wall, t_mono, arrival, epoch, *values)`."""
    if source == "netflow":

        def flow(row: Row) -> tuple[int, ...]:
            assert isinstance(row, NetflowRow)
            out, to = row.src in guest_addresses, row.dst in guest_addresses
            return (
                *(row.t_wall_ns, row.t_mono_ns, row.recv_wall_ns, 0),
                *(row.start_wall_ns, max(row.start_wall_ns, row.end_wall_ns)),
                1 if out else (0 if to else -1),
                int(row.proto == 6 and row.tcp_flags & (_SYN | _ACK) == _SYN),
                *(row.packets, row.bytes, _code(row.src), _code(row.dst), row.sport, row.dport, row.proto),
            )

        return flow
    fields = fields_of(channels, source)
    # a sampled row arrives when it is sampled, so its time is asked for twice
    getter = cast(Callable[[Any], tuple[int, ...]], attrgetter("t_wall_ns", "t_mono_ns", "t_wall_ns", *fields))

    def sampled(row: Row) -> tuple[int, ...]:
        got = getter(row)
        return (*got[:3], _epoch(row), *got[3:])

    return sampled


def columns_of(
    rows: Sequence[Row], source: Source, channels: tuple[Channel, ...], guest_addresses: frozenset[str]
) -> Columns:
    """Columns of a whole recording of one source, in the order in which its rows arrived."""
    fields = fields_of(channels, source)
    encode = encoder(channels, source, guest_addresses)
    table = np.array([encode(row) for row in rows], dtype=np.int64).reshape(len(rows), 4 + len(fields)).T
    order = np.argsort(table[2], kind="stable") if np.any(np.diff(table[2]) < 0) else slice(None)
    table = np.ascontiguousarray(table[:, order])
    return Columns(table[0], table[1], table[2], table[3], fields, table[4:])


def _epoch(row: Row) -> int:
    """Equal for rows whose counters compare."""
    if isinstance(row, ProcRow):
        return row.pid << 40 ^ row.starttime & (1 << 40) - 1 if row.pid < 1 << 22 else _code(str(row.pid))
    return _code(row.boot_id) if isinstance(row, GuestRow) else 0


def _code(text: str) -> int:
    """63 bits that stand for a text: the same on every machine, and nothing to remember or to fill up."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
