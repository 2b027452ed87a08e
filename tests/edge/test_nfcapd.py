"""The flow decoder against an independent collector: nfdump's nfcapd 1.7.1, on the datagrams of real exporters.

Both hear the same bytes. What they make of them must be the same flows; how far their times may lie apart, and where
nfcapd is known to say something else, is stated below by exporter.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from edge.collectors.export.uptime import MS
from tests.brokers import program
from tests.edge.test_export import RECORDED, SAMPLED, SECOND, lines, recorded

pytestmark = [pytest.mark.system]

EXPORTERS = {**RECORDED, SAMPLED: "pmacctd-fprobe"}
"""By port: the recording that the exporter is in."""
ALIKE, CUT, WHOLE_SECONDS = (0, 0), (0, MS - 1), (0, SECOND - 1)
LATER = {
    # records have Unix ms of their own, which both take as they are. 2054 samples 1:4 and says so in its options: both
    # leave the counts of its flows as exported, as nfcapd 1.7.1 does not know these options for a sampler's
    2052: ALIKE, 2053: ALIKE, 2054: ALIKE,
    # ms of uptime, from a moment of boot that the options say in ms
    2063: ALIKE,
    # the header has ns; nfcapd cuts them to ms, we keep them
    2051: CUT, 2061: CUT, 2071: CUT,
    # the header has whole seconds: nfcapd takes the second's begin for the moment of export, so that all it says is up
    # to 1 s early; we bound the moment by all that has come, receipt included
    2062: WHOLE_SECONDS,
}  # fmt: skip
"""By port: the least and the most by which our start and end may lie after nfcapd's, ns."""
SWAPS = {2063}
"""nfcapd 1.7.1 reads IPFIX's elements 21 and 22 the wrong way round: its first is the end, its last the start."""
ICMP6 = 58
FLOWS = {2051: 57, 2052: 78, 2053: 78, 2054: 48, 2061: 62, 2062: 72, 2063: 72, 2071: 43}
NO_ICMP6 = {2051, 2061, 2071}
"""v5 has no IPv6."""
SAYS_ICMP6 = {
    # the exporter puts ICMPv6's type and code into the port of destination (11); of v9, unlike
    # IPFIX, nfcapd 1.7.1 does not take them from there and says 0
    2052: (True, False),
    # softflowd has them in element 139 alone, which nfcapd reads in IPFIX and not in v9
    2062: (True, False),
}
"""By port: whether we and nfcapd have the ICMPv6 type where the port of destination is. All others: both."""
UNKNOWN_VERSION = b"\x00\x4d" + bytes(30)
PATIENCE_S = 30.0


class Flow(NamedTuple):
    """What both say of a flow; times in Unix ns."""

    src: str
    dst: str
    sport: int
    dport: int
    proto: int
    packets: int
    bytes: int
    start: int
    end: int

    @property
    def key(self) -> tuple[str | int, ...]:
        """All but the times, and without the ICMPv6 type, of which `SAYS_ICMP6` tells."""
        return self._replace(dport=0 if self.proto == ICMP6 else self.dport)[:7]


def in_order(flows: list[Flow]) -> list[Flow]:
    return sorted(flows, key=lambda flow: (flow.key, flow.start, flow.end))


def ours(port: int) -> list[Flow]:
    """The flows of an exporter by our decoder."""
    rows, _ = recorded(port, EXPORTERS[port])
    return in_order(
        [
            Flow(
                *(row.src, row.dst, row.sport, row.dport, row.proto),
                *(row.packets, row.bytes, row.start_wall_ns, row.end_wall_ns),
            )
            for row in rows
        ]
    )


def theirs(port: int, folder: Path) -> list[Flow]:
    """The flows of an exporter by nfcapd, its swap undone."""
    heard = [bytes.fromhex(line["data"]) for line in lines(EXPORTERS[port]) if line["port"] == port]
    found = []
    for one in collected(heard, folder):
        start, end = unix_ns(one["first"]), unix_ns(one["last"])
        if port in SWAPS:
            start, end = end, start
        assert start <= end, one
        icmp = "icmp_type" in one  # in the place of ports
        found.append(
            Flow(
                src=str(ip_address(one.get("src4_addr") or one["src6_addr"])),
                dst=str(ip_address(one.get("dst4_addr") or one["dst6_addr"])),
                sport=0 if icmp else one["src_port"],
                dport=one["icmp_type"] << 8 | one["icmp_code"] if icmp else one["dst_port"],
                proto=one["proto"],
                packets=one["in_packets"],
                bytes=one["in_bytes"],
                start=start,
                end=end,
            )
        )
    return in_order(found)


def unix_ns(clock: str) -> int:
    """nfdump's UTC time, of ms, without a zone."""
    return round(datetime.fromisoformat(f"{clock}+00:00").timestamp() * 1000) * MS


def collected(datagrams: list[bytes], folder: Path) -> list[dict[str, Any]]:
    """What a real nfcapd makes of datagrams, by `nfdump -o json`."""
    flows, said = folder / "flows", folder / "said.txt"
    flows.mkdir()
    port = free_udp_port()
    command = [str(program("nfcapd")), "-b", "127.0.0.1", "-p", str(port), "-w", str(flows)]
    with said.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:

        def says(words: str) -> bool:
            assert process.poll() is None, said.read_text()
            return words in said.read_text()

        def ends(exporter: socket.socket) -> bool:
            """Whether it has; a signal that comes just before it waits for a datagram is seen with the next one."""
            with contextlib.suppress(ConnectionRefusedError):
                exporter.send(UNKNOWN_VERSION)
            return process.poll() is not None

        try:
            until(lambda: says("Startup nfcapd"), said)  # its port is bound by then
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as exporter:
                exporter.connect(("127.0.0.1", port))
                for data in datagrams:
                    exporter.send(data)  # all together are smaller than a socket's buffer: none is lost
                # read one by one: once it complains about the last, it has done with all before
                exporter.send(UNKNOWN_VERSION)
                until(lambda: says("Unexpected netflow version"), said)
                process.terminate()
                until(lambda: ends(exporter), said)
            assert process.returncode == 0, said.read_text()
        finally:
            process.kill()  # nothing, where it has ended
    read = [str(program("nfdump")), "-R", str(flows), "-o", "json"]
    result = subprocess.run(
        read, env={**os.environ, "TZ": "UTC"}, capture_output=True, check=True, timeout=PATIENCE_S, text=True
    )
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def free_udp_port() -> int:
    """A loopback port at which nobody hears datagrams right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(holds: Callable[[], bool], said: Path) -> None:
    """Wait until it holds, but not for ever."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, said.read_text()
        time.sleep(0.01)


@pytest.mark.parametrize("port", EXPORTERS)
def test_the_decoder_finds_the_flows_that_nfcapd_finds_when_both_hear_the_same_datagrams(
    port: int, tmp_path: Path
) -> None:
    mine, other = ours(port), theirs(port, tmp_path)
    assert len(mine) == FLOWS[port]
    assert Counter(flow.key for flow in mine) == Counter(flow.key for flow in other)
    least, most = LATER[port]
    for one, two in zip(mine, other, strict=True):
        assert least <= one.start - two.start <= most, (one, two)
        assert least <= one.end - two.end <= most, (one, two)
        # however early the moment of export is taken to be: the time between start and end is the record's
        assert one.end - one.start == two.end - two.start, (one, two)


@pytest.mark.parametrize("port", sorted(EXPORTERS.keys() - NO_ICMP6))
def test_an_icmp6_flow_has_its_type_for_a_port_when_the_exporter_puts_it_there(port: int, tmp_path: Path) -> None:
    we, they = SAYS_ICMP6.get(port, (True, True))
    mine, other = ([flow for flow in flows if flow.proto == ICMP6] for flows in (ours(port), theirs(port, tmp_path)))
    assert mine
    assert {flow.dport > 0 for flow in mine} == {we}
    assert {flow.dport > 0 for flow in other} == {they}
    if we and they:
        assert [flow.dport for flow in mine] == [flow.dport for flow in other]


def test_starts_of_flows_are_nearer_the_traffic_than_nfcapds_when_a_header_has_whole_seconds(tmp_path: Path) -> None:
    began = {
        (connection["proto"], *sorted((connection["sport"], connection["dport"]))): connection["start_ns"]
        for connection in lines(f"{EXPORTERS[2062]}.truth")
    }
    wrong: dict[str, list[int]] = {}
    for who, flows in ("we", ours(2062)), ("nfcapd", theirs(2062, tmp_path)):
        starts: dict[tuple[int, ...], int] = {}
        for flow in flows:
            ends = (flow.proto, *sorted((flow.sport, flow.dport)))
            if ends in began:
                starts[ends] = min(flow.start, starts.get(ends, flow.start))
        wrong[who] = [abs(start - began[ends]) for ends, start in starts.items()]
    assert len(wrong["we"]) == len(wrong["nfcapd"]) > 20
    assert max(wrong["we"]) < 2 * MS
    assert max(wrong["nfcapd"]) > 100 * MS
