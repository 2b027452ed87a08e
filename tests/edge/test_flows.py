"""Flow channels against a naive reference, and the laws of arrival and proration."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contracts.features.schema import SECOND, FeatureSchema, feature_schema
from contracts.telemetry.rows import NetflowRow
from edge.extract import columns_of
from edge.extract.flows import FlowGrid

SCHEMA = feature_schema()
MS = 1_000_000
END = 1_795_369_140 * SECOND
LOWER = END - SCHEMA.window_ns
CHANNELS = {channel.name: channel for channel in SCHEMA.channels if channel.source == "netflow"}


def row(
    start_ms: int, lasts_ms: int, *, lag_ms: int = 0, out: bool = True, port: int = 80, peer: int = 1,
    size: int = 1000, packets: int = 5, flags: int = 0x1B,
) -> NetflowRow:  # fmt: skip
    """A flow that starts `start_ms` after the window does."""
    start = LOWER + start_ms * MS
    end = start + lasts_ms * MS
    guest, other = "10.77.0.2", f"10.77.2.{peer}"
    return NetflowRow(
        t_wall_ns=end,
        t_mono_ns=5,
        recv_wall_ns=end + lag_ms * MS,
        start_wall_ns=start,
        end_wall_ns=end,
        src=guest if out else other,
        dst=other if out else guest,
        sport=40000,
        dport=port,
        proto=6,
        tcp_flags=flags,
        packets=packets,
        bytes=size,
    )


def grid(rows: list[NetflowRow], name: str, schema: FeatureSchema = SCHEMA) -> NDArray[Any]:
    rows = sorted(rows, key=lambda one: one.recv_wall_ns)
    columns = columns_of(rows, "netflow", schema.channels, frozenset({"10.77.0.2"}))
    found: NDArray[Any] = FlowGrid(columns, np.array([END], np.int64), schema).channel(CHANNELS[name])[0]
    return found


def naive(rows: list[NetflowRow], name: str) -> list[float]:
    """Step by step and flow by flow, as the channel's description says it."""
    known = [one for one in rows if one.recv_wall_ns <= END + SCHEMA.settle_ns and one.start_wall_ns < END]
    known = [one for one in known if one.end_wall_ns >= LOWER - SCHEMA.window_ns]
    way = CHANNELS[name].direction
    known = [one for one in known if (one.src == "10.77.0.2" if way == "out" else one.dst == "10.77.0.2")]
    found = []
    for k in range(SCHEMA.steps):
        a, b = LOWER + k * SCHEMA.step_ns, LOWER + (k + 1) * SCHEMA.step_ns
        began = [one for one in known if a <= one.start_wall_ns < b]
        active = [
            one
            for one in known
            if (one.start_wall_ns < b and one.end_wall_ns > a) or a <= one.start_wall_ns == one.end_wall_ns < b
        ]
        recent = [one for one in known if b - SCHEMA.flow_horizon_ns <= one.start_wall_ns < b]
        starts = [one.start_wall_ns for one in known if one.start_wall_ns < b]

        def volume(one: NetflowRow, amount: int, a: int = a, b: int = b) -> float:
            lasts = one.end_wall_ns - one.start_wall_ns
            return amount if lasts == 0 else amount * (min(b, one.end_wall_ns) - max(a, one.start_wall_ns)) / lasts

        found.append(
            {
                "flows": len(began) / 0.1,
                "syn_only": sum(one.tcp_flags & 0x12 == 2 for one in began) / 0.1,
                "small_flows": sum(one.packets <= 3 for one in began) / 0.1,
                "bytes_out": sum(volume(one, one.bytes) for one in active) / 0.1,
                "bytes_in": sum(volume(one, one.bytes) for one in active) / 0.1,
                "packets_out": sum(volume(one, one.packets) for one in active) / 0.1,
                "distinct_dst_addrs": len({one.dst for one in recent}),
                "distinct_dst_ports": len({one.dport for one in recent}),
                "mean_duration": float(np.mean([(o.end_wall_ns - o.start_wall_ns) / SECOND for o in active] or [0])),
                "start_gap": min(10.0, (b - max(starts)) / SECOND) if starts else 10.0,
            }[name]
        )
    return found


flows = st.lists(
    st.builds(
        row,
        st.integers(-12_000, 10_500),
        st.sampled_from([0, 1, 99, 100, 250, 3000, 15_000]),
        lag_ms=st.sampled_from([0, 900, 2900, 6400]),
        out=st.booleans(),
        port=st.sampled_from([22, 23, 80]),
        peer=st.integers(1, 3),
        size=st.integers(0, 10**6),
        packets=st.integers(1, 6),
        flags=st.sampled_from([0x02, 0x12, 0x1B, 0x04]),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(flows)
def test_every_flow_channel_equals_the_naive_reference(rows: list[NetflowRow]) -> None:
    for name in CHANNELS:
        np.testing.assert_allclose(grid(rows, name), naive(rows, name), rtol=1e-9, atol=1e-9, err_msg=name)


def test_bytes_are_conserved_when_a_flow_lies_in_the_window() -> None:
    for lasts in (0, 1, 100, 1234, 9000):
        assert np.isclose(grid([row(333, lasts, size=700_001)], "bytes_out").sum() * 0.1, 700_001)


def test_a_flow_that_arrived_too_late_does_not_count() -> None:
    in_time, late = row(9000, 900, lag_ms=3100), row(9000, 900, lag_ms=3101)
    assert grid([in_time], "flows").sum() > 0
    assert grid([late], "flows").sum() == 0
    assert grid([late], "bytes_out").sum() == 0


def test_no_flows_is_zero_and_not_missing() -> None:
    for name in CHANNELS:
        assert not np.isnan(grid([], name)).any()
    assert (grid([], "start_gap") == 10).all()
