"""A datagram -> flow rows: NetFlow v5 (Cisco), NetFlow v9 (RFC 3954) and IPFIX (RFC 7011).

Times are Unix ns in every format: v5's header has ns, v9's whole seconds (see `uptime`), IPFIX's records their own
clock, or uptimes that count from `systemInitTimeMilliseconds`, which an exporter may say only once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from contracts.telemetry.rows import NetflowRow
from edge.collectors.export import fields as ie
from edge.collectors.export.exporters import Counts, Exporter, Exporters, Timed
from edge.collectors.export.uptime import MS, since_ms

SECOND = 1_000_000_000
MOST_NS = 1 << 62
_V5, _V9, _IPFIX = 5, 9, 10
_V5_HEADER, _V5_RECORD = struct.Struct(">HHIIIIBBH"), struct.Struct(">IIIHHIIIIHHBBBBHHBBH")
_V9_HEADER, _IPFIX_HEADER, _SET = struct.Struct(">HHIIII"), struct.Struct(">HHIII"), struct.Struct(">HH")


class Decoder:
    """All exporters that send here. A datagram is hostile until it has been read; reading one raises nothing."""

    def __init__(self, boots: Mapping[str, int] | None = None) -> None:
        """boots: what an earlier decoder knew (`boots`)."""
        self.counts = Counts()
        self._exporters = Exporters(self.counts, boots or {})

    @property
    def boots(self) -> dict[str, int]:
        """IPFIX exporters by name, and when each booted, Unix ms: some say it in their first message alone."""
        return self._exporters.boots

    def rows(self, data: bytes, exporter: str, recv_wall_ns: int, recv_mono_ns: int) -> list[NetflowRow]:
        """The flows of one datagram, and those that waited for what it says.

        exporter: whoever sent it, address and port; recv_wall_ns, recv_mono_ns: when it came.
        """
        self.counts.datagrams += 1
        version = int.from_bytes(data[:2], "big")
        readers = {_V5: self._v5, _V9: self._v9, _IPFIX: self._ipfix}
        if version not in readers:
            self.counts.malformed += 1
            return []
        found: list[NetflowRow] = []
        try:
            for row in readers[version](data, exporter, recv_wall_ns, recv_mono_ns):
                found.append(row)  # what was whole before a datagram breaks off is kept
        except struct.error:
            self.counts.malformed += 1
        self.counts.flows += len(found)
        return found

    def _v5(self, data: bytes, exporter: str, recv_wall_ns: int, _: int) -> Iterator[NetflowRow]:
        _, count, uptime, s, ns, sequence, engine, unit, _ = _V5_HEADER.unpack_from(data)
        known = self._exporters.known(exporter, _V5, engine << 8 | unit)
        self._exporters.follows(known, sequence, count)
        moment = s * SECOND + ns
        if len(data) < _V5_HEADER.size + count * _V5_RECORD.size:
            self.counts.malformed += 1
            return
        for i in range(count):
            record = _V5_RECORD.unpack_from(data, _V5_HEADER.size + i * _V5_RECORD.size)
            first, last = (moment - since_ms(uptime, one) * MS for one in record[7:9])
            elements = (ie.SOURCE_4, ie.DESTINATION_4, ie.PACKETS, ie.BYTES, ie.SOURCE_PORT, ie.DESTINATION_PORT)
            values = dict(zip(elements, (*record[:2], *record[5:7], *record[9:11]), strict=True))
            values |= {ie.TCP_FLAGS: record[12], ie.PROTOCOL: record[13]}
            yield from self._row(values, (first, last), uptime * MS, recv_wall_ns)

    def _v9(self, data: bytes, exporter: str, recv_wall_ns: int, _: int) -> Iterator[NetflowRow]:
        _, _, uptime, s, sequence, domain = _V9_HEADER.unpack_from(data)
        known = self._exporters.known(exporter, _V9, domain)
        self._exporters.follows(known, sequence, 1)
        moment = self._exporters.moment(known, uptime, s * SECOND, s * SECOND + SECOND - MS, recv_wall_ns)
        for number, body in self._sets(data, _V9_HEADER.size):
            if number == 0:
                self.counts.malformed += known.templates.learn(body, scoped=False, enterprises=False)
            elif number == 1:
                self.counts.malformed += known.templates.learn_options(body)
            else:
                for values, scoped in self._records(known, number, body):
                    if not scoped:
                        times = ie.times_ns(values) or _aged(values, uptime, moment)
                        yield from self._row(values, times, uptime * MS, recv_wall_ns)

    def _ipfix(self, data: bytes, exporter: str, recv_wall_ns: int, recv_mono_ns: int) -> Iterator[NetflowRow]:
        _, length, _, sequence, domain = _IPFIX_HEADER.unpack_from(data)
        if length != len(data):
            self.counts.malformed += 1
            return
        known, count = self._exporters.known(exporter, _IPFIX, domain), 0
        timed: list[Timed] = []
        for number, body in self._sets(data, _IPFIX_HEADER.size):
            if number in (2, 3):
                self.counts.malformed += known.templates.learn(body, scoped=number == 3, enterprises=True)
                continue
            for values, scoped in self._records(known, number, body):
                count += 1
                if 0 < values.get(ie.BOOT_MS, 0) <= MOST_NS // MS:
                    self.counts.restarts += known.boot_ms not in (None, values[ie.BOOT_MS])
                    known.boot_ms = values[ie.BOOT_MS]
                if scoped:
                    continue
                if (times := ie.times_ns(values)) is not None:
                    yield from self._row(values, times, recv_mono_ns, recv_wall_ns)
                elif {ie.START_UPTIME, ie.END_UPTIME} <= values.keys():
                    timed.append(Timed(values, recv_wall_ns, recv_mono_ns))
        self._exporters.follows(known, sequence, count)
        self._exporters.hold(known, timed)
        if known.boot_ms is not None:
            for values, recv, mono in self._exporters.released(known):
                boot = known.boot_ms * MS
                # 32 bits of uptime: the turn of it that ended last before it was received
                turns = max(0, recv - boot - values[ie.END_UPTIME] * MS) // ((1 << 32) * MS)
                end = boot + (values[ie.END_UPTIME] + (turns << 32)) * MS
                start = end - since_ms(values[ie.END_UPTIME], values[ie.START_UPTIME]) * MS
                # it could not be known before now
                yield from self._row(values, (start, end), mono, recv_wall_ns)

    def _sets(self, data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
        """Number and body of each set; one that breaks its bounds ends the datagram."""
        while at + _SET.size <= len(data):
            number, length = _SET.unpack_from(data, at)
            if length < _SET.size or at + length > len(data):
                self.counts.malformed += 1
                return
            yield number, data[at + _SET.size : at + length]
            at += length

    def _records(self, known: Exporter, number: int, body: bytes) -> Iterator[tuple[ie.Values, bool]]:
        """Each record's values, and whether it is of options."""
        template = known.templates.get(number) if number >= 256 else None
        if template is None:
            self.counts.untemplated += 1
            return
        at = 0
        while len(body) - at >= template.shortest:
            record = ie.read_record(body, at, template)
            if record is None:
                self.counts.malformed += 1
                return
            yield record.values, template.scope > 0
            at = record.end

    def _row(
        self, values: ie.Values, times: tuple[int, int] | None, mono_ns: int, recv_wall_ns: int
    ) -> Iterator[NetflowRow]:
        """A flow; nothing for a record that is of none, or says what no row can hold."""
        ends = ie.addresses(values)
        packets = values.get(ie.PACKETS, values.get(ie.ALL_PACKETS))
        size = values.get(ie.BYTES, values.get(ie.ALL_BYTES))
        if times is None or ends is None or packets is None or size is None:
            return
        icmp = values.get(ie.ICMP_4, values.get(ie.ICMP_6, 0))
        ports = values.get(ie.SOURCE_PORT, 0), values.get(ie.DESTINATION_PORT, icmp)
        proto = values.get(ie.PROTOCOL, 0)
        if (
            min(times) < 0
            or max(times) > MOST_NS
            or max(ports) > 0xFFFF
            or proto > 0xFF
            or max(packets, size) >= 1 << 63
        ):
            self.counts.malformed += 1
            return
        yield NetflowRow(
            t_wall_ns=times[1],
            t_mono_ns=mono_ns,
            recv_wall_ns=recv_wall_ns,
            start_wall_ns=times[0],
            end_wall_ns=times[1],
            src=ends[0],
            dst=ends[1],
            sport=ports[0],
            dport=ports[1],
            proto=proto,
            tcp_flags=values.get(ie.TCP_FLAGS, 0) & 0xFF,
            packets=packets,
            bytes=size,
        )


def _aged(values: ie.Values, uptime: int, moment: int) -> tuple[int, int] | None:
    """Start and end of a v9 flow by its uptimes, where the header's uptime is of a known moment (Unix ns)."""
    if not {ie.START_UPTIME, ie.END_UPTIME} <= values.keys():
        return None
    start, end = (moment - since_ms(uptime, values[one]) * MS for one in (ie.START_UPTIME, ie.END_UPTIME))
    return start, end
