"""Flow export: real exporters against the traffic that they saw, and datagrams that no honest one sends."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.telemetry.rows import NetflowRow
from edge.collectors.export.decode import Decoder
from edge.collectors.export.exporters import MOST_EXPORTERS, MOST_HELD, Counts
from edge.collectors.export.templates import MOST_TEMPLATES, VARIABLE
from edge.collectors.export.uptime import MS, Boot, since_ms

FOLDER = Path(__file__).parents[1] / "netflow"
SECOND = 1_000_000_000
RECORDED = {
    2061: "softflowd", 2062: "softflowd", 2063: "softflowd",
    2051: "pmacctd-fprobe", 2052: "pmacctd-fprobe", 2053: "pmacctd-fprobe", 2071: "pmacctd-fprobe",
}  # fmt: skip
SAMPLED = 2054
V5_SEES = {"tcp6"}
"""What v5 has no room for."""
FPROBE_MISSED = 7
"""Connections of which fprobe had nothing to say when the recording ended."""


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]


def recorded(port: int, name: str) -> tuple[list[NetflowRow], Counts]:
    decoder, found = Decoder(), []
    for one in lines(name):
        if one["port"] == port:
            exporter = f"{one['src']}:{one['sport']}"
            found += decoder.rows(bytes.fromhex(one["data"]), exporter, one["recv_wall_ns"], 1)
    return found, decoder.counts


def of(rows: list[NetflowRow], connection: dict[str, Any]) -> list[NetflowRow]:
    """Both directions of a connection: those of the generator, then the others."""
    ends = connection["sport"], connection["dport"]
    return [row for row in rows if row.proto == connection["proto"] and (row.sport, row.dport) in (ends, ends[::-1])]


@pytest.mark.parametrize("port", RECORDED)
def test_flows_of_real_exporters_have_the_times_of_the_traffic(port: int) -> None:
    rows, counts = recorded(port, RECORDED[port])
    known = lines(f"{RECORDED[port]}.truth")
    seen = [connection for connection in known if of(rows, connection)]
    unseen = {connection["kind"] for connection in known} - {connection["kind"] for connection in seen}
    if port == 2071:
        assert len(known) - len(seen) == FPROBE_MISSED
    else:
        assert unseen <= (V5_SEES if port in (2051, 2061) else set())
    for connection in seen:
        flows = of(rows, connection)
        start, end = min(flow.start_wall_ns for flow in flows), max(flow.end_wall_ns for flow in flows)
        assert abs(start - connection["start_ns"]) < 2 * MS, connection["kind"]
        # the generator gives up on what is not answered a tenth of a second after the last packet
        assert -110 * MS < end - connection["end_ns"] < 15 * MS, connection["kind"]
        back = sum(flow.bytes for flow in flows if flow.sport == connection["dport"])
        assert back >= connection.get("bytes_in", 0), connection["kind"]
    assert (counts.flows, counts.malformed, counts.untemplated, counts.held) == (len(rows), 0, 0, 0)
    assert (counts.lost, counts.dropped, counts.restarts) == (0, 0, 0)


def test_flows_of_a_sampling_exporter_start_with_the_first_packet_that_it_took() -> None:
    rows, counts = recorded(SAMPLED, "pmacctd-fprobe")
    known = [connection for connection in lines("pmacctd-fprobe.truth") if of(rows, connection)]
    assert len(known) > 20
    for connection in known:
        start = min(flow.start_wall_ns for flow in of(rows, connection))
        assert -2 * MS < start - connection["start_ns"] < 110 * MS
    assert counts.malformed == 0


# -- datagrams made here


def v9(body: bytes, *, uptime: int = 10_000, seconds: int = 1_700_000_000, sequence: int = 0, domain: int = 1) -> bytes:
    return struct.pack(">HHIIII", 9, 1, uptime, seconds, sequence, domain) + body


def ipfix(body: bytes, *, sequence: int = 0, domain: int = 1) -> bytes:
    return struct.pack(">HHIII", 10, 16 + len(body), 1_700_000_000, sequence, domain) + body


def a_set(number: int, body: bytes) -> bytes:
    return struct.pack(">HH", number, 4 + len(body)) + body


def template(number: int, *fields: tuple[int, int]) -> bytes:
    return struct.pack(">HH", number, len(fields)) + b"".join(struct.pack(">HH", *field) for field in fields)


FLOW = ((8, 4), (12, 4), (7, 2), (11, 2), (4, 1), (6, 1), (2, 4), (1, 4))
"""Elements of a flow but for its times."""


def flow(sport: int = 1000) -> bytes:
    return struct.pack(">IIHHBBII", 0x0A000001, 0x0A000002, sport, 80, 6, 27, 3, 400)


def heard(decoder: Decoder, datagrams: Iterable[bytes], recv_wall_ns: int = 1_700_000_001 * SECOND) -> list[NetflowRow]:
    return [row for data in datagrams for row in decoder.rows(data, "10.0.0.9:1", recv_wall_ns, 7)]


MILLISECONDS = (*FLOW, (152, 8), (153, 8))


def timed(sport: int = 1000, start_ms: int = 1_700_000_000_100, end_ms: int = 1_700_000_000_900) -> bytes:
    return flow(sport) + struct.pack(">QQ", start_ms, end_ms)


def test_an_ipfix_flow_has_the_times_that_its_record_says() -> None:
    (row,) = heard(Decoder(), [ipfix(a_set(2, template(256, *MILLISECONDS)) + a_set(256, timed()))])
    assert (row.start_wall_ns, row.end_wall_ns) == (1_700_000_000_100 * MS, 1_700_000_000_900 * MS)
    assert (row.t_wall_ns, row.t_mono_ns, row.recv_wall_ns) == (row.end_wall_ns, 7, 1_700_000_001 * SECOND)
    assert (row.src, row.dst, row.sport, row.dport, row.proto, row.tcp_flags) == (
        *("10.0.0.1", "10.0.0.2", 1000, 80, 6, 27),
    )
    assert (row.packets, row.bytes) == (3, 400)


NTP_S = 3_908_988_800
"""1,700,000,000 s of Unix time, from 1900."""


@pytest.mark.parametrize(
    ("elements", "record", "start", "end"),
    [
        ((150, 151), struct.pack(">II", 1_700_000_000, 1_700_000_001), 0, SECOND),
        ((154, 155), struct.pack(">IIII", NTP_S, 1 << 31, NTP_S + 1, 1 << 30), SECOND // 2, SECOND * 5 // 4),
        ((156, 157), struct.pack(">IIII", NTP_S, 0, NTP_S, 1 << 29), 0, SECOND // 8),
    ],
    ids=["seconds", "microseconds", "nanoseconds"],
)
def test_ipfix_times_are_read_in_every_unit(elements: tuple[int, int], record: bytes, start: int, end: int) -> None:
    width = len(record) // 2
    times = [(element, width) for element in elements]
    data = ipfix(a_set(2, template(256, *FLOW, *times)) + a_set(256, flow() + record))
    (row,) = heard(Decoder(), [data])
    base = 1_700_000_000 * SECOND
    assert (row.start_wall_ns - base, row.end_wall_ns - base) == (start, end)


def test_flows_by_an_uptime_wait_for_the_time_of_boot_and_arrive_with_it() -> None:
    decoder = Decoder()
    known = a_set(2, template(256, *FLOW, (22, 4), (21, 4))) + a_set(2, template(257, (160, 8)))
    waits = ipfix(known + a_set(256, flow() + struct.pack(">II", 500, 900)))
    assert heard(decoder, [waits], recv_wall_ns=1_700_000_001 * SECOND) == []
    assert decoder.counts.held == 1
    boots = ipfix(a_set(257, struct.pack(">Q", 1_700_000_000_000)), sequence=1)
    (row,) = heard(decoder, [boots], recv_wall_ns=1_700_000_009 * SECOND)
    assert decoder.counts.held == 0
    assert (row.start_wall_ns - 1_700_000_000 * SECOND, row.end_wall_ns - row.start_wall_ns) == (500 * MS, 400 * MS)
    assert row.recv_wall_ns == 1_700_000_009 * SECOND  # it could not be known before


def test_the_time_of_boot_outlives_the_decoder() -> None:
    first = Decoder()
    heard(first, [ipfix(a_set(2, template(257, (160, 8))) + a_set(257, struct.pack(">Q", 1_700_000_000_000)))])
    assert list(first.boots.values()) == [1_700_000_000_000]
    again = Decoder(first.boots)
    assert again.boots == first.boots
    flows = a_set(2, template(256, *FLOW, (22, 4), (21, 4))) + a_set(256, flow() + struct.pack(">II", 1, 2))
    (row,) = heard(again, [ipfix(flows)])
    assert row.start_wall_ns == 1_700_000_000_001 * MS


def test_flows_before_a_datagram_breaks_off_are_kept() -> None:
    decoder = Decoder()
    data = a_set(2, template(256, *MILLISECONDS)) + a_set(256, timed())
    assert len(heard(decoder, [ipfix(data + a_set(2, struct.pack(">HH", 300, 9)))])) == 1
    assert decoder.counts.malformed == 1


def test_an_ipfix_uptime_that_has_wrapped_is_of_the_last_turn() -> None:
    boot, turn = 1_690_000_000_000, 1 << 32
    known = a_set(2, template(256, *FLOW, (22, 4), (21, 4))) + a_set(2, template(257, (160, 8)))
    record = flow() + struct.pack(">II", turn - 300, 200)  # across the wrap
    data = ipfix(known + a_set(257, struct.pack(">Q", boot)) + a_set(256, record))
    (row,) = heard(Decoder(), [data], recv_wall_ns=(boot + 2 * turn + 5000) * MS)
    assert (row.start_wall_ns, row.end_wall_ns) == ((boot + 2 * turn - 300) * MS, (boot + 2 * turn + 200) * MS)


def test_flows_that_wait_are_bounded() -> None:
    decoder = Decoder()
    known = ipfix(a_set(2, template(256, *FLOW, (22, 4), (21, 4))))
    heard(decoder, [known, *[ipfix(a_set(256, (flow() + bytes(8)) * 40))] * 30])
    assert decoder.counts.held == MOST_HELD
    assert decoder.counts.dropped == 1200 - MOST_HELD


def test_a_template_is_of_its_exporter_and_domain_is_replaced_and_withdrawn() -> None:
    decoder = Decoder()
    data = a_set(256, timed())
    assert len(heard(decoder, [ipfix(a_set(2, template(256, *MILLISECONDS))), ipfix(data)])) == 1
    assert heard(decoder, [ipfix(data, domain=2)]) == []
    assert decoder.rows(ipfix(data), "10.0.0.8:1", 1, 1) == []
    assert decoder.counts.untemplated == 2
    longer = ipfix(a_set(2, template(256, *MILLISECONDS, (99, 2))) + a_set(256, timed() + b"xx"))
    assert len(heard(decoder, [longer])) == 1
    assert heard(decoder, [ipfix(a_set(2, struct.pack(">HH", 256, 0)) + data)]) == []
    assert (
        heard(decoder, [ipfix(a_set(2, template(256, *MILLISECONDS)) + a_set(2, struct.pack(">HH", 2, 0)) + data)])
        == []
    )
    assert decoder.counts.untemplated == 4


def test_fields_of_any_length_and_of_enterprises_are_passed_over() -> None:
    fields = template(256, *MILLISECONDS)[4:] + struct.pack(">HHI", 0x8000 | 1, 4, 9) + struct.pack(">HH", 82, VARIABLE)
    known = a_set(2, struct.pack(">HH", 256, len(MILLISECONDS) + 2) + fields)
    short, long = timed(1) + b"abcd" + b"\x03eth", timed(2) + b"abcd" + b"\xff\x01\x00" + b"x" * 256
    rows = heard(Decoder(), [ipfix(known + a_set(256, short + long))])
    assert [(row.sport, row.bytes) for row in rows] == [(1, 400), (2, 400)]


def test_option_records_are_no_flows() -> None:
    options = struct.pack(">HHH", 300, 10, 1) + b"".join(struct.pack(">HH", *field) for field in MILLISECONDS)
    assert heard(Decoder(), [ipfix(a_set(3, options) + a_set(300, timed()))]) == []
    v9_options = struct.pack(">HHHHH", 300, 4, 40, 1, 4) + b"".join(
        struct.pack(">HH", *field) for field in MILLISECONDS
    )
    decoder = Decoder()
    assert heard(decoder, [v9(a_set(1, v9_options) + a_set(300, bytes(4) + timed()))]) == []
    assert decoder.counts == Counts(datagrams=1)


def test_sequence_numbers_tell_of_losses_whichever_way_they_count() -> None:
    known = a_set(2, template(256, *MILLISECONDS))
    for ahead in (0, 1):  # softflowd counts a datagram's own flows too
        decoder, two = Decoder(), a_set(256, timed() * 2)
        heard(decoder, [ipfix(known + two, sequence=10 + 2 * ahead), ipfix(two, sequence=12 + 2 * ahead)])
        assert decoder.counts.lost == 0
        heard(decoder, [ipfix(two, sequence=19 + 2 * ahead)])
        assert decoder.counts.lost == 5
        heard(decoder, [ipfix(two, sequence=0)])  # begun anew
        assert decoder.counts.lost == 5
    decoder = Decoder()
    heard(decoder, [v9(b"", sequence=1), v9(b"", sequence=2), v9(b"", sequence=5)])
    assert decoder.counts.lost == 2


def test_exporters_and_templates_are_bounded() -> None:
    decoder = Decoder()
    for domain in range(3 * MOST_EXPORTERS):
        heard(decoder, [ipfix(a_set(2, template(256, *MILLISECONDS)), domain=domain)])
    assert len(decoder._exporters) == MOST_EXPORTERS
    many = b"".join(template(256 + i, *MILLISECONDS) for i in range(3 * MOST_TEMPLATES))
    heard(decoder, [ipfix(a_set(2, many[i : i + 44 * 1000])) for i in range(0, len(many), 44 * 1000)])
    (largest,) = {len(one.templates) for one in decoder._exporters._known.values()} - {1}
    assert largest == MOST_TEMPLATES


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\x00\x05", b"\x00\x09", b"\x00\x0a"]),
    st.lists(st.tuples(st.sampled_from([0, 1, 2, 3, 256, 257]), st.binary(max_size=60)), max_size=6),
)
def test_no_bytes_make_it_raise_and_no_row_is_out_of_bounds(
    noise: bytes, version: bytes, sets: list[tuple[int, bytes]]
) -> None:
    decoder = Decoder()
    known = a_set(2, template(256, *MILLISECONDS)) + a_set(2, template(257, *FLOW, (22, 4), (21, 4), (160, 8)))
    body = b"".join(a_set(number, data) for number, data in sets)
    for data in (version + noise, noise, ipfix(known + body), v9(a_set(0, known[4:]) + body), ipfix(body + noise)):
        for row in decoder.rows(data, "x", 1_700_000_000 * SECOND, 1):
            assert 0 <= row.start_wall_ns < 1 << 63
            assert 0 <= row.sport < 1 << 16 > row.dport
            assert 0 <= row.bytes < 1 << 63
    assert decoder.counts.datagrams == 5


@given(
    st.lists(
        st.tuples(
            st.sampled_from([1, 2, 4, 6, 7, 8, 11, 12, 21, 22, 27, 28, *range(150, 158), 160]), st.integers(0, 40)
        )
    ),
    st.binary(min_size=100, max_size=700),
)
def test_fields_of_lengths_that_no_element_has_give_no_row_that_is_out_of_bounds(
    elements: list[tuple[int, int]], records: bytes
) -> None:
    decoder, known = Decoder(), template(256, *FLOW, *elements)
    for data in (
        ipfix(a_set(2, known) + a_set(256, records)),
        v9(a_set(0, known) + a_set(256, records)),
        ipfix(a_set(2, template(256, *elements, *MILLISECONDS)) + a_set(256, records)),
    ):
        for row in decoder.rows(data, "x", 1_700_000_000 * SECOND, 1):
            assert 0 <= row.start_wall_ns <= 1 << 62 >= row.end_wall_ns >= 0
            assert max(row.sport, row.dport) < 1 << 16
            assert max(row.packets, row.bytes) < 1 << 63
    assert all(0 < boot < 1 << 62 for boot in decoder.boots.values())


# -- uptimes


@given(
    st.integers(0, (1 << 32) - 1),
    st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 60)), min_size=1, max_size=40),
    st.integers(1_500_000_000_000, 1_900_000_000_000),
)
def test_a_header_of_whole_seconds_is_placed_between_its_second_and_its_receipt(
    first: int, steps: list[tuple[int, int]], now_ms: int
) -> None:
    """Never later than it came, never outside its second; and as close as the fastest datagram so far."""
    boot, uptime, best = Boot(), first, 1 << 62
    for step, delay in steps:
        uptime += step
        now_ms += step
        floor = now_ms // 1000 * 1000
        best = min(best, delay)
        found = boot.wall_ns(uptime % (1 << 32), floor * MS, (floor + 999) * MS, (now_ms + delay) * MS)
        assert floor * MS <= found <= (floor + 999) * MS
        assert now_ms * MS <= found <= (now_ms + best) * MS
    assert boot.restarts == 0


def test_an_uptime_that_runs_backwards_is_another_boot() -> None:
    boot = Boot()
    assert boot.wall_ns(5_000_000, 100 * SECOND, 101 * SECOND, 100 * SECOND + 5 * MS) == 100 * SECOND + 5 * MS
    assert boot.wall_ns(2000, 160 * SECOND, 161 * SECOND, 160 * SECOND + 9 * MS) == 160 * SECOND + 9 * MS
    assert boot.restarts == 1
    # two datagrams that overtake each other are not
    assert boot.wall_ns(1990, 160 * SECOND, 161 * SECOND, 160 * SECOND + 9 * MS) == 160 * SECOND
    assert boot.restarts == 1


@given(st.integers(0, (1 << 32) - 1), st.integers(-(1 << 31), (1 << 31) - 1))
def test_uptimes_are_compared_across_a_wrap(earlier: int, step: int) -> None:
    assert since_ms((earlier + step) % (1 << 32), earlier) == step
