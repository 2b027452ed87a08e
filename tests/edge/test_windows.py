"""The laws of extraction, on real recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.features.schema import SECOND, FeatureSchema
from contracts.telemetry.episode import Episode, read_episode
from contracts.vocabulary import PHASES, SOURCES
from edge.extract import Extractor, summarise, truth_of, window_ends
from edge.extract.windows import Windows
from edge.feeds.replay import arrivals
from edge.watch.ring import Ring
from tests.recordings import columns_of_episode, of_corpus

HOSTS = [of_corpus("arm-1", 17), of_corpus("micro-1", 63), of_corpus("pc-1", 36)]


def batch(episode: Episode, schema: FeatureSchema) -> Windows:
    """All windows of a recording at once."""
    ends = window_ends(episode.manifest.started_wall_ns, episode.manifest.ended_wall_ns, schema)
    return Extractor(schema).extract(columns_of_episode(episode, schema), ends)


def test_netflow_is_observed_when_aligned_by_wall_clock_and_lost_when_by_t_mono(
    episode: Episode, schema: FeatureSchema
) -> None:
    at = [i for i, channel in enumerate(schema.channels) if channel.source == "netflow"]
    names = [schema.channels[i].name for i in at]
    windows = batch(episode, schema)
    assert windows.mask[:, at].all()
    moved = windows.tensor[:, at[names.index("bytes_out")]]
    assert (moved.max(axis=1) > 0).mean() > 0.5  # this guest talks in most windows

    # The same rows placed by t_mono_ns, the exporter's uptime: not one flow falls into a window any more.
    def by_mono(row: Any) -> Any:
        shift = row.t_mono_ns - row.t_wall_ns
        times = {name: getattr(row, name) + shift for name in ("start_wall_ns", "end_wall_ns", "recv_wall_ns")}
        return msgspec.structs.replace(row, t_wall_ns=row.t_mono_ns, **times)

    rows = {**episode.rows, "netflow": [by_mono(row) for row in episode.rows["netflow"]]}
    wrong = batch(msgspec.structs.replace(episode, rows=rows), schema)
    assert (np.nan_to_num(wrong.tensor[:, at[names.index("bytes_out")]]) == 0).all()
    assert "silent" in [wrong.doubt("netflow", i) for i in range(len(wrong.ends))]


@pytest.mark.parametrize("path", HOSTS, ids=lambda path: path.name)
def test_live_equals_batch_bit_for_bit(path: Path, schema: FeatureSchema) -> None:
    episode = read_episode(path)
    whole = batch(episode, schema)
    extractor, ring = Extractor(schema), Ring(schema, SOURCES, frozenset(episode.manifest.guest_addresses))
    live: list[NDArray[Any]] = []

    def settle(now: int) -> None:
        while len(live) < len(whole.ends) and whole.ends[len(live)] + schema.settle_ns <= now:
            end = whole.ends[len(live) : len(live) + 1]
            live.append(extractor.extract(ring.columns(), end).tensor[0])

    for arrival, _, source, row in arrivals(episode):
        settle(arrival - 1)
        ring.append(source, row)
    settle(episode.manifest.ended_wall_ns + schema.settle_ns)
    np.testing.assert_array_equal(np.stack(live), whole.tensor)
    np.testing.assert_array_equal(summarise(np.stack(live), schema), summarise(whole.tensor, schema))
    one_by_one = [summarise(window[None], schema)[0] for window in live]
    np.testing.assert_array_equal(one_by_one, summarise(whole.tensor, schema))


def test_a_window_knows_nothing_that_arrived_after_it_settled(episode: Episode, schema: FeatureSchema) -> None:
    whole = batch(episode, schema)
    for i in (0, 7, 15):
        end = whole.ends[i : i + 1]
        known = {
            source: columns.before(int(end[0]) + schema.settle_ns)
            for source, columns in columns_of_episode(episode, schema).items()
        }
        np.testing.assert_array_equal(Extractor(schema).extract(known, end).tensor[0], whole.tensor[i])


def test_windows_do_not_depend_on_where_the_episode_began(episode: Episode, schema: FeatureSchema) -> None:
    late = episode.manifest.started_wall_ns + 40 * SECOND
    rows = {source: [row for row in some if row.t_wall_ns >= late] for source, some in episode.rows.items()}
    cut = msgspec.structs.replace(
        episode, rows=rows, manifest=msgspec.structs.replace(episode.manifest, started_wall_ns=late)
    )
    whole, part = batch(episode, schema), batch(cut, schema)
    skipped = len(whole.ends) - len(part.ends)
    np.testing.assert_array_equal(part.ends, whole.ends[skipped:])
    sampled = [i for i, channel in enumerate(schema.channels) if channel.source != "netflow"]
    np.testing.assert_array_equal(part.tensor[2:, sampled], whole.tensor[skipped + 2 :, sampled])


def test_window_ends_lie_on_unix_time_multiples_of_the_stride_inside_the_episode(schema: FeatureSchema) -> None:
    ends = window_ends(7 * SECOND, 31 * SECOND, schema)
    assert (ends / SECOND).tolist() == [20, 25, 30]
    assert (window_ends(5 * SECOND, 15 * SECOND, schema) / SECOND).tolist() == [15]
    assert len(window_ends(5 * SECOND, 14 * SECOND, schema)) == 0


def test_a_missing_source_is_not_observed_and_the_rest_is_the_same(episode: Episode, schema: FeatureSchema) -> None:
    columns = columns_of_episode(episode, schema)
    whole = batch(episode, schema)
    del columns["netflow"]
    part = Extractor(schema).extract(columns, whole.ends)
    lost = np.array([channel.source == "netflow" for channel in schema.channels])
    assert not part.mask[:, lost].any()
    np.testing.assert_array_equal(part.tensor[:, ~lost], whole.tensor[:, ~lost])


def test_a_clock_step_marks_the_windows_that_span_it(episode: Episode, schema: FeatureSchema) -> None:
    rows = dict(episode.rows)
    middle = len(rows["proc"]) // 2
    rows["proc"] = [
        msgspec.structs.replace(row, t_wall_ns=row.t_wall_ns + (2 * SECOND if i >= middle else 0))
        for i, row in enumerate(rows["proc"])
    ]
    at = rows["proc"][middle].t_wall_ns
    marked = batch(msgspec.structs.replace(episode, rows=rows), schema)
    assert not batch(episode, schema).clock_step.any()
    expected = (marked.ends >= at - 2.2 * SECOND) & (marked.ends - schema.window_ns <= at)
    np.testing.assert_array_equal(marked.clock_step, expected)
    assert 2 <= marked.clock_step.sum() <= 3


@pytest.mark.parametrize("jump_s", [2, 30, 100, 3600])
def test_live_and_batch_mark_the_same_windows_after_a_forward_jump(
    episode: Episode, schema: FeatureSchema, jump_s: int
) -> None:
    middle = len(episode.rows["proc"]) // 2
    after = episode.rows["proc"][middle].t_wall_ns

    def later(row: Any) -> Any:
        shift = jump_s * SECOND if row.t_wall_ns >= after else 0
        times = {name: getattr(row, name) + shift for name in row.__struct_fields__ if name.endswith("t_wall_ns")}
        return msgspec.structs.replace(row, **times)

    rows = {source: [later(row) for row in episode.rows[source]] for source in ("proc", "qmp", "guest")}
    manifest = msgspec.structs.replace(episode.manifest, ended_wall_ns=episode.manifest.ended_wall_ns + jump_s * SECOND)
    jumped = msgspec.structs.replace(episode, rows=rows, manifest=manifest)
    whole = batch(jumped, schema)
    extractor, ring = Extractor(schema), Ring(schema, ["proc", "qmp", "guest"], frozenset())
    live: list[bool] = []

    def settle(now: int) -> None:
        while len(live) < len(whole.ends) and whole.ends[len(live)] + schema.settle_ns <= now:
            end = whole.ends[len(live) : len(live) + 1]
            live.append(bool(extractor.extract(ring.columns(), end).clock_step[0]))

    for arrival, _, source, row in arrivals(jumped):
        settle(arrival - 1)
        ring.append(source, row)
    settle(manifest.ended_wall_ns + schema.settle_ns)
    assert live == whole.clock_step.tolist()
    assert 2 <= sum(live) <= 4


def test_truth_is_the_phase_at_the_centre_and_its_share(episode: Episode, schema: FeatureSchema) -> None:
    windows = batch(episode, schema)
    truth = truth_of(episode.labels, episode.manifest.ended_wall_ns, windows.ends, schema)
    for end, label, purity in zip(windows.ends.tolist(), truth.label, truth.purity, strict=True):
        bounds = [row.t_wall_ns for row in episode.labels] + [episode.manifest.ended_wall_ns]
        (at,) = [i for i in range(5) if bounds[i] <= end - schema.window_ns // 2 < bounds[i + 1]]
        inside = min(end, bounds[at + 1]) - max(end - schema.window_ns, bounds[at])
        assert PHASES[label] == episode.labels[at].phase
        assert np.isclose(purity, inside / schema.window_ns)


def test_nothing_carries_the_time_of_day(episode: Episode, schema: FeatureSchema) -> None:
    """The same recording a day and 35 s later, on the same grid, is the same tensor."""
    shift = 86_435 * SECOND

    def later(row: Any) -> Any:
        times = {name: getattr(row, name) + shift for name in row.__struct_fields__ if name.endswith("wall_ns")}
        return msgspec.structs.replace(row, **times)

    manifest = msgspec.structs.replace(
        episode.manifest,
        started_wall_ns=episode.manifest.started_wall_ns + shift,
        ended_wall_ns=episode.manifest.ended_wall_ns + shift,
    )
    rows = {source: [later(row) for row in some] for source, some in episode.rows.items()}
    moved = batch(msgspec.structs.replace(episode, manifest=manifest, rows=rows), schema)
    np.testing.assert_array_equal(moved.tensor, batch(episode, schema).tensor)
