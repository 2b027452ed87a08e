"""Rows to columns: each source becomes a few arrays of whole numbers."""

from __future__ import annotations

import functools
import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, cast

import numpy as np
from msgspec.structs import astuple
from numpy.typing import NDArray

from contracts.features.channels import Channel
from contracts.telemetry.addresses import canonical_address, canonical_addresses
from contracts.telemetry.rows import GuestRow, NetflowRow, ProcRow, Row
from contracts.vocabulary import Source
from edge.extract.possible import flow_is_possible

Ints = NDArray[np.int64]

FLOW_FIELDS = ("start", "end", "out", "syn", "packets", "bytes", "src", "dst", "sport", "dport", "proto",
               "possible")  # fmt: skip
TAP_FIELDS = ("tap_rx_packets", "tap_tx_packets")
"""Of proc, wherever there are flows: what they are held against."""
ABSENT = -1
"""Stands in a column for a reading that is null; none is negative."""
_SYN, _ACK = 0x02, 0x10
_MAX_PID = 1 << 22
_ByField = Mapping[str, tuple[Any, ...]]
_PER_ROW = ("t_wall", "t_mono", "arrival", "epoch")


@dataclass(frozen=True)
class Columns:
    """One source's rows, in the order in which they arrived.

    t_wall: (n,) int64, Unix ns, what everything is aligned by (a flow's end).
    t_mono: (n,) int64, ns; only differences within one source mean anything, and for flows not even those.
    arrival: (n,) int64, Unix ns, when the row could first be known.
    epoch: (n,) int64; counters of different epochs do not compare.
    fields: names of the rows of `values`.
    values: (len(fields), n) int64, raw counters and gauges, `ABSENT` = not observed.
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
        return self.at(slice(n) if known[:n].all() else known)  # a prefix, unless the wall clock went back

    def at(self, rows: slice | NDArray[Any]) -> Columns:
        """Some of the rows."""
        wall, mono, arrival, epoch = (getattr(self, name)[rows] for name in _PER_ROW)
        return Columns(wall, mono, arrival, epoch, self.fields, self.values[:, rows])

    def only(self, fields: NDArray[np.intp]) -> Columns:
        """Some of the fields."""
        names = tuple(self.fields[i] for i in fields)
        return Columns(self.t_wall, self.t_mono, self.arrival, self.epoch, names, self.values[fields])


@functools.cache
def fields_of(channels: tuple[Channel, ...], source: Source) -> tuple[str, ...]:
    """The raw fields that a source's channels need, in the order of `Columns.values`."""
    if source == "netflow":
        return FLOW_FIELDS
    fields = {cast(str, channel.field) for channel in channels if channel.source == source}
    if source == "proc" and any(channel.source == "netflow" for channel in channels):
        fields.update(TAP_FIELDS)
    return tuple(sorted(fields))


def encoder(
    channels: tuple[Channel, ...], source: Source, guest_addresses: frozenset[str]
) -> Callable[[Row], tuple[int, ...]]:
    """A function from a row to `(t_wall, t_mono, arrival, epoch, *values)`."""
    if source == "netflow":
        ours = canonical_addresses(guest_addresses)

        def flow(row: Row) -> tuple[int, ...]:
            assert isinstance(row, NetflowRow)
            src, dst = canonical_address(row.src), canonical_address(row.dst)
            times = row.start_wall_ns, row.end_wall_ns
            possible = src is not None and dst is not None
            possible &= flow_is_possible(row.t_wall_ns, *times, row.recv_wall_ns, row.packets, row.bytes)
            return (
                *(row.t_wall_ns, row.t_mono_ns, row.recv_wall_ns, 0),
                *times,
                1 if src in ours else (0 if dst in ours else -1),
                int(row.proto == 6 and row.tcp_flags & (_SYN | _ACK) == _SYN),
                *(row.packets, row.bytes, _code(src or row.src), _code(dst or row.dst)),
                *(row.sport, row.dport, row.proto, int(possible)),
            )

        return flow
    fields = fields_of(channels, source)
    # a sampled row arrives when it is sampled, so its time is asked for twice
    getter = cast(Callable[[Any], tuple[int, ...]], attrgetter("t_wall_ns", "t_mono_ns", "t_wall_ns", *fields))

    def sampled(row: Row) -> tuple[int, ...]:
        got = getter(row)
        if None in got:
            got = tuple(ABSENT if value is None else value for value in got)
        return (*got[:3], _epoch(row), *got[3:])

    return sampled


def columns_of(
    rows: Sequence[Row], source: Source, channels: tuple[Channel, ...], guest_addresses: frozenset[str]
) -> Columns:
    """Columns of a whole recording of one source, in the order in which its rows arrived."""
    return joined([part_of(rows, source, channels, guest_addresses)])


def part_of(
    rows: Sequence[Any], source: Source, channels: tuple[Channel, ...], guest_addresses: frozenset[str]
) -> Columns:
    """Columns of some rows in the order of the file: what `encoder` says of each, all at once."""
    fields = fields_of(channels, source)
    if not rows:
        nothing = np.empty(0, np.int64)
        return Columns(nothing, nothing, nothing, nothing, fields, np.empty((len(fields), 0), np.int64))
    by_field = dict(zip(rows[0].__struct_fields__, zip(*map(astuple, rows), strict=True), strict=True))
    if source == "netflow":
        return _flows(by_field, fields, guest_addresses)
    wall, mono = _ints(by_field, ("t_wall_ns", "t_mono_ns"))
    return Columns(wall, mono, wall, _epochs(by_field, source), fields, _ints(by_field, fields))


def ints_of(rows: Sequence[Any], fields: tuple[str, ...]) -> Ints:
    """A few whole-number fields of some rows: (len(fields), n) int64, `ABSENT` for null."""
    return _ints({field: tuple(map(attrgetter(field), rows)) for field in fields}, fields)


def in_order(parts: Sequence[Columns]) -> Columns:
    """Parts of one recording as one, in the order of the file."""
    if len(parts) == 1:
        return parts[0]
    wall, mono, arrival, epoch = (np.concatenate([getattr(part, name) for part in parts]) for name in _PER_ROW)
    return Columns(wall, mono, arrival, epoch, parts[0].fields, np.concatenate([part.values for part in parts], axis=1))


def joined(parts: Sequence[Columns]) -> Columns:
    """Parts of one recording as one, ordered by arrival."""
    whole = in_order(parts)
    if not np.any(whole.arrival[1:] < whole.arrival[:-1]):
        return whole
    return whole.at(np.argsort(whole.arrival, kind="stable"))


def _ints(by_field: _ByField, fields: Sequence[str]) -> Ints:
    """(len(fields), n) int64 of whole-number fields. `struct` turns a tuple into machine words faster than numpy."""
    rows = len(by_field[fields[0]]) if fields else 0
    pack = struct.Struct(f"{rows}q").pack

    def packed(values: Sequence[Any]) -> bytes:
        try:
            return pack(*values)
        except struct.error:  # a null among them
            return pack(*(ABSENT if value is None else value for value in values))

    table: Ints = np.frombuffer(b"".join(packed(by_field[field]) for field in fields), np.int64)
    return table.reshape(len(fields), rows)


def _codes(texts: Sequence[str]) -> Ints:
    """(n,) int64."""
    code = {text: _code(text) for text in set(texts)}
    if len(code) == 1:
        return np.full(len(texts), code[texts[0]], np.int64)
    return np.fromiter(map(code.__getitem__, texts), np.int64, len(texts))


def _flows(by_field: _ByField, fields: tuple[str, ...], guest_addresses: frozenset[str]) -> Columns:
    spelled = {text: canonical_address(text) for text in {*by_field["src"], *by_field["dst"]}}
    src, dst = ([spelled[text] or text for text in by_field[name]] for name in ("src", "dst"))
    ours = canonical_addresses(guest_addresses)
    out, to = (np.fromiter(map(ours.__contains__, some), np.bool_, len(some)) for some in (src, dst))
    names = ("t_wall_ns", "t_mono_ns", "recv_wall_ns", "start_wall_ns", "end_wall_ns", "proto", "tcp_flags")
    wall, mono, arrival, start, end, proto, flags = _ints(by_field, names)
    packets, size, sport, dport = _ints(by_field, ("packets", "bytes", "sport", "dport"))
    direction = np.where(out, 1, np.where(to, 0, -1))
    syn = (proto == 6) & (flags & (_SYN | _ACK) == _SYN)
    possible = flow_is_possible(wall, start, end, arrival, packets, size)
    if None in spelled.values():
        known = (
            np.fromiter((spelled[text] is not None for text in by_field[name]), np.bool_) for name in ("src", "dst")
        )
        possible = np.logical_and.reduce([possible, *known])
    values = [start, end, direction, syn, packets, size, _codes(src), _codes(dst), sport, dport, proto, possible]
    return Columns(wall, mono, arrival, np.zeros(len(wall), np.int64), fields, np.stack(values))


def _epochs(by_field: _ByField, source: Source) -> Ints:
    """`_epoch` of every row."""
    if source == "guest":
        return _codes(by_field["boot_id"])
    if source == "proc":
        pid, starttime = _ints(by_field, ("pid", "starttime"))
        usual = pid << 40 ^ starttime & (1 << 40) - 1
        return usual if np.all(pid < _MAX_PID) else np.where(pid < _MAX_PID, usual, _codes([*map(str, pid)]))
    return np.zeros(len(by_field["t_wall_ns"]), np.int64)


def _epoch(row: Row) -> int:
    """Equal for rows whose counters compare."""
    if isinstance(row, ProcRow):
        return row.pid << 40 ^ row.starttime & (1 << 40) - 1 if row.pid < _MAX_PID else _code(str(row.pid))
    return _code(row.boot_id) if isinstance(row, GuestRow) else 0


@functools.lru_cache(4096)
def _code(text: str) -> int:
    """63 bits that stand for a text: the same on every machine, and nothing that could fill up."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
