"""One record -> its values, by the information elements of IANA's IPFIX registry that a flow row needs."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from edge.collectors.export.templates import VARIABLE, Template

Values = dict[int, int]
BYTES, PACKETS, PROTOCOL, TCP_FLAGS = 1, 2, 4, 6
SOURCE_PORT, SOURCE_4, DESTINATION_PORT, DESTINATION_4 = 7, 8, 11, 12
END_UPTIME, START_UPTIME = 21, 22
SOURCE_6, DESTINATION_6 = 27, 28
ICMP_4, ICMP_6 = 32, 139
"""Type and code, where an exporter does not say them as the destination port."""
ALL_BYTES, ALL_PACKETS = 85, 86
START_S, END_S, START_MS, END_MS, START_US, END_US, START_NS, END_NS = range(150, 158)
BOOT_MS = 160
"""systemInitTimeMilliseconds: what uptimes of IPFIX count from."""
_WANTED = frozenset(
    {BYTES, PACKETS, PROTOCOL, TCP_FLAGS, SOURCE_PORT, SOURCE_4, DESTINATION_PORT, DESTINATION_4, END_UPTIME}
    | {
        START_UPTIME,
        SOURCE_6,
        DESTINATION_6,
        ICMP_4,
        ICMP_6,
        ALL_BYTES,
        ALL_PACKETS,
        BOOT_MS,
        *range(START_S, END_NS + 1),
    }
)
_NTP_EPOCH_S = 2_208_988_800
"""From 1900 to 1970; `dateTimeMicroseconds` and `dateTimeNanoseconds` are NTP timestamps (RFC 7011, 6.1.9)."""


class Record(NamedTuple):
    """Values by element, and where the record ends."""

    values: Values
    end: int


def read_record(data: bytes, at: int, template: Template) -> Record | None:
    """The record at a place; None where it is cut off. Elements that no row needs are passed over."""
    values: Values = {}
    for element, enterprise, length in template.fields:
        if length == VARIABLE:
            if at >= len(data):
                return None
            length, at = data[at], at + 1
            if length == 255:
                length, at = int.from_bytes(data[at : at + 2], "big"), at + 2
        if at + length > len(data):
            return None
        if not enterprise and element in _WANTED:
            values[element] = int.from_bytes(data[at : at + length], "big")
        at += length
    return Record(values, at)


def times_ns(values: Values) -> tuple[int, int] | None:
    """Start and end in Unix ns, where a record says them by the clock; the finest that it has."""
    if START_NS in values and END_NS in values:
        return _ntp_ns(values[START_NS]), _ntp_ns(values[END_NS])
    if START_US in values and END_US in values:
        return _ntp_ns(values[START_US]), _ntp_ns(values[END_US])
    if START_MS in values and END_MS in values:
        return values[START_MS] * 1_000_000, values[END_MS] * 1_000_000
    if START_S in values and END_S in values:
        return values[START_S] * 1_000_000_000, values[END_S] * 1_000_000_000
    return None


def _ntp_ns(stamp: int) -> int:
    return ((stamp >> 32) - _NTP_EPOCH_S) * 1_000_000_000 + ((stamp & 0xFFFF_FFFF) * 1_000_000_000 >> 32)


def addresses(values: Values) -> tuple[str, str] | None:
    """Source and destination, as text; None where a record is of no IP flow."""
    if SOURCE_4 in values and DESTINATION_4 in values:
        src, dst, bits = values[SOURCE_4], values[DESTINATION_4], 32
    elif SOURCE_6 in values and DESTINATION_6 in values:
        src, dst, bits = values[SOURCE_6], values[DESTINATION_6], 128
    else:
        return None
    if max(src, dst) >> bits:  # a template may say any length
        return None
    if bits == 32:
        return str(ipaddress.IPv4Address(src)), str(ipaddress.IPv4Address(dst))
    return str(ipaddress.IPv6Address(src)), str(ipaddress.IPv6Address(dst))
