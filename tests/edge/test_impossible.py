"""Readings that cannot be, and readings that are not there: left out, never a huge rate or a negative one."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from contracts.features.schema import FeatureSchema
from contracts.telemetry.episode import Episode
from edge.extract import Extractor, Windows, window_ends
from edge.watch.ring import Ring
from tests.recordings import columns_of_episode


def batch(episode: Episode, schema: FeatureSchema) -> Windows:
    ends = window_ends(episode.manifest.started_wall_ns, episode.manifest.ended_wall_ns, schema)
    return Extractor(schema).extract(columns_of_episode(episode, schema), ends)


def changed(episode: Episode, source: Any, number: int, **fields: Any) -> Episode:
    rows = list(episode.rows[source])
    rows[number] = msgspec.structs.replace(rows[number], **fields)
    return msgspec.structs.replace(episode, rows={**episode.rows, source: rows})


SAMPLED = ["proc.cpu_user", "proc.guest_tx_bytes", "proc.threads", "proc.rss", "qmp.write_bytes", "guest.memory_free"]


@pytest.mark.parametrize("name", SAMPLED)
def test_a_reading_that_cannot_be_is_not_observed_and_is_counted(
    episode: Episode, schema: FeatureSchema, name: str
) -> None:
    i = schema.channel_ids.index(name)
    channel = schema.channels[i]
    assert channel.field is not None
    number = len(episode.rows[channel.source]) // 2
    value = getattr(episode.rows[channel.source][number], channel.field)
    found = batch(changed(episode, channel.source, number, **{channel.field: value + 2**61}), schema)
    plain = batch(episode, schema)
    assert np.nanmax(np.abs(found.tensor[:, i])) == np.nanmax(np.abs(plain.tensor[:, i]))
    assert 1 <= np.count_nonzero(found.impossible[channel.source]) <= 3
    others = [j for j in range(len(schema.channels)) if schema.channels[j].field != channel.field]
    np.testing.assert_array_equal(found.tensor[:, others], plain.tensor[:, others])
    lost = plain.mask[:, i] & ~found.mask[:, i]
    assert lost.any()
    assert lost.sum() < 100


def test_every_sampled_channel_has_a_bound_or_is_clipped(schema: FeatureSchema) -> None:
    for channel in schema.channels:
        if channel.source != "netflow":
            assert (channel.most is None) == (channel.clip == "window"), channel.id


def test_a_reading_of_null_is_not_observed_and_the_rest_is_the_same(episode: Episode, schema: FeatureSchema) -> None:
    """A disk that was never used has no idle time; a kernel without schedstat counts no time of vCPUs."""
    rows = {
        **episode.rows,
        "qmp": [msgspec.structs.replace(row, idle_time_ns=None) for row in episode.rows["qmp"]],
        "proc": [msgspec.structs.replace(row, vcpu_run_ns=None, vcpu_wait_ns=None) for row in episode.rows["proc"]],
    }
    found, plain = batch(msgspec.structs.replace(episode, rows=rows), schema), batch(episode, schema)
    absent = np.isin(schema.channel_ids, ["qmp.idle_time", "proc.vcpu_run", "proc.vcpu_wait"])
    assert not found.mask[:, absent].any()
    np.testing.assert_array_equal(found.tensor[:, ~absent], plain.tensor[:, ~absent])
    assert not any(some.any() for some in found.impossible.values())


def test_a_null_between_two_readings_hides_the_steps_around_it_alone(episode: Episode, schema: FeatureSchema) -> None:
    number = len(episode.rows["proc"]) // 2
    found = batch(changed(episode, "proc", number, utime=None, num_threads=None), schema)
    plain = batch(episode, schema)
    for name in ("proc.cpu_user", "proc.threads"):
        i = schema.channel_ids.index(name)
        lost = plain.mask[:, i] & ~found.mask[:, i]
        assert 1 <= lost.sum() <= 9  # three steps of three windows
        np.testing.assert_array_equal(found.tensor[:, i][~lost], plain.tensor[:, i][~lost])


def test_a_ring_holds_null_as_a_recording_does(episode: Episode, schema: FeatureSchema) -> None:
    without = [msgspec.structs.replace(row, idle_time_ns=None) for row in episode.rows["qmp"][:50]]
    ring = Ring(schema, ["qmp"], frozenset())
    for row in without:
        ring.append("qmp", row)
    whole = columns_of_episode(msgspec.structs.replace(episode, rows={"qmp": without}), schema)["qmp"]
    np.testing.assert_array_equal(ring.columns()["qmp"].values, whole.values)
