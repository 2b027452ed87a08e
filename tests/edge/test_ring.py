"""The ring: what it holds, and what it says it dropped."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.features.schema import SECOND, FeatureSchema
from contracts.telemetry.episode import Episode
from contracts.telemetry.rows import NetflowRow
from edge.extract import columns_of
from edge.watch import ring as rings
from edge.watch.ring import SPAN_NS, Ring


def test_ring_holds_the_last_minute_as_columns_of_the_rows(episode: Episode, schema: FeatureSchema) -> None:
    addresses = frozenset(episode.manifest.guest_addresses)
    ring = Ring(schema, ["proc"], addresses)
    for row in episode.rows["proc"]:
        ring.append("proc", row)
        ring.append("guest", row)  # not watched: ignored
    held = ring.columns()["proc"]
    whole = columns_of(episode.rows["proc"], "proc", schema.channels, addresses)
    recent = whole.arrival >= whole.arrival[-1] - SPAN_NS
    recent[np.flatnonzero(recent)[0] - 1] = True  # one older row stays, so that a jump of the clock is seen
    np.testing.assert_array_equal(held.values, whole.values[:, recent])
    np.testing.assert_array_equal(held.t_wall, whole.t_wall[recent])
    assert ring.dropped == 0
    assert 590 < len(held.t_wall) < 605


def test_ring_counts_what_an_overflow_pushed_out(
    episode: Episode, schema: FeatureSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(rings.CAPACITY, "netflow", 8)
    ring = Ring(schema, ["netflow"], frozenset())
    row = episode.rows["netflow"][0]
    assert isinstance(row, NetflowRow)
    for _ in range(50):
        ring.append("netflow", row)
    assert len(ring.columns()["netflow"].t_wall) == 8
    assert ring.dropped == 42
    assert ring.dropped_ns == row.recv_wall_ns


def test_ring_forgets_by_age_without_calling_it_dropped(episode: Episode, schema: FeatureSchema) -> None:
    import msgspec

    ring = Ring(schema, ["netflow"], frozenset())
    for i in range(200):
        row = episode.rows["netflow"][0]
        ring.append("netflow", msgspec.structs.replace(row, recv_wall_ns=row.t_wall_ns + i * SECOND))
    assert len(ring.columns()["netflow"].t_wall) == 62
    assert ring.dropped == 0
