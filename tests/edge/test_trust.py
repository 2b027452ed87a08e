"""Flow records that cannot be believed: one rule, window by window, in extraction, sweep and agent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from contracts.bundle.keys import load_trusted_keys
from contracts.features.schema import SECOND, FeatureSchema
from contracts.telemetry.episode import Episode, find_episodes, read_episode
from contracts.telemetry.rows import NetflowRow
from edge.deliver.outbox import opened
from edge.extract import Extractor, Windows, window_ends
from edge.extract.trust import ARRIVED_NS, LOOK_BACK_NS, MOST, SLACK
from edge.feeds.replay import replay
from edge.model.models import Fixed
from edge.model.opened import activate
from edge.watch.agent import Agent
from edge.watch.health import Health
from tests.bundles import make_bundle
from tests.recordings import CORPUS, ORDERED, columns_of_episode

Flows = list[NetflowRow]


def with_flows(episode: Episode, change: Callable[[Flows], list[Any]]) -> Episode:
    flows = cast(Flows, list(episode.rows["netflow"]))
    return msgspec.structs.replace(episode, rows={**episode.rows, "netflow": change(flows)})


def batch(episode: Episode, schema: FeatureSchema) -> Windows:
    ends = window_ends(episode.manifest.started_wall_ns, episode.manifest.ended_wall_ns, schema)
    return Extractor(schema).extract(columns_of_episode(episode, schema), ends)


def doubts(windows: Windows) -> list[str | None]:
    return [windows.doubt("netflow", i) for i in range(len(windows.ends))]


def by_uptime(flows: Flows) -> Flows:
    """Start and end by the exporter's uptime, received by our clock."""

    def moved(row: NetflowRow) -> NetflowRow:
        end = row.t_mono_ns
        return msgspec.structs.replace(
            row, t_wall_ns=end, end_wall_ns=end, start_wall_ns=max(0, end - (row.end_wall_ns - row.start_wall_ns))
        )

    return [moved(row) for row in flows]


SPOILED: dict[str, tuple[Callable[[Flows], Flows], str]] = {
    "the exporter's uptime for time": (by_uptime, "clock"),
    "an exporter that was away": (lambda _: [], "silent"),
    "another guest's addresses": (
        lambda flows: [msgspec.structs.replace(row, src="192.0.2.1", dst="192.0.2.2") for row in flows],
        "silent",
    ),
    "every flow twice": (lambda flows: [row for row in flows for _ in range(2)], "doubled"),
}


def test_no_window_of_the_earlier_recordings_is_doubted(schema: FeatureSchema) -> None:
    for path in find_episodes(ORDERED):
        windows = batch(read_episode(path), schema)
        assert set(doubts(windows)) == {None}, path
        assert not any(some.any() for some in windows.impossible.values()), path


def test_five_windows_of_the_bundled_recordings_are_doubted_and_two_have_an_impossible_reading(
    schema: FeatureSchema,
) -> None:
    """Of 5666: eight guests shared two cores. No recording has two."""
    windows, doubted, impossible = 0, Counter[str | None](), Counter[str]()
    for path in find_episodes(CORPUS):
        some = batch(read_episode(path), schema)
        windows += len(some.ends)
        found = Counter(doubts(some))
        assert found.total() - found[None] <= 1, path
        doubted += found
        impossible.update(source for source, readings in some.impossible.items() if readings.any())
    assert (windows, doubted) == (5666, {None: 5661, "silent": 4, "doubled": 1})
    assert impossible == {"guest": 2}


@pytest.mark.parametrize("name", SPOILED)
def test_netflow_is_not_observed_where_it_cannot_be_believed(
    episode: Episode, schema: FeatureSchema, name: str
) -> None:
    change, why = SPOILED[name]
    at = [i for i, channel in enumerate(schema.channels) if channel.source == "netflow"]
    windows = batch(with_flows(episode, change), schema)
    found = doubts(windows)
    assert set(found) == {None, why} or set(found) == {why}
    assert found.count(why) > len(found) // 3
    for i, doubt in enumerate(found):
        assert windows.mask[i, at].any() == (doubt is None)


@pytest.mark.parametrize("name", SPOILED)
def test_the_agent_doubts_the_very_windows_that_extraction_doubts(
    episode: Episode, schema: FeatureSchema, signing_key: Path, tmp_path: Path, name: str
) -> None:
    spoiled = with_flows(episode, SPOILED[name][0])
    bundle = make_bundle(tmp_path, schema, signing_key)
    with opened(tmp_path / "outbox") as box:
        models = Fixed(activate(bundle, schema, load_trusted_keys(signing_key.parent)))
        replay(Agent(models, schema, node="n", outbox=box, health=Health()), spoiled, schema, None)
        said = [json.loads(m.payload)["data"] for m in box.pending(10_000) if m.topic.endswith("/window")]
    expected = batch(spoiled, schema)
    assert [window["end_wall_ns"] for window in said] == expected.ends.tolist()
    assert [window["doubted"].get("netflow") for window in said] == doubts(expected)
    for i, window in enumerate(said):
        assert window["impossible"].get("netflow", 0) == expected.impossible["netflow"][i]
        if window["doubted"]:
            assert window["observed"]["netflow"] == 0
            assert "degraded" in window["flags"]


def test_a_doubt_knows_nothing_that_arrived_after_its_window_settled(episode: Episode, schema: FeatureSchema) -> None:
    """An exporter that goes away: windows before that are believed, and a window cut off from its future says alike."""
    gone = episode.manifest.started_wall_ns + 40 * SECOND
    spoiled = with_flows(episode, lambda flows: [row for row in flows if row.recv_wall_ns < gone])
    whole = batch(spoiled, schema)
    found = doubts(whole)
    assert found[0] is None
    assert found[-1] == "silent"
    for i in range(0, len(found), 3):
        end = whole.ends[i : i + 1]
        known = {s: c.before(int(end[0]) + schema.settle_ns) for s, c in columns_of_episode(spoiled, schema).items()}
        assert Extractor(schema).extract(known, end).doubt("netflow", 0) == found[i]


def test_nothing_is_doubted_where_the_tap_was_not_watched(episode: Episode, schema: FeatureSchema) -> None:
    without = msgspec.structs.replace(episode, rows={"netflow": [], "qmp": episode.rows["qmp"]})
    assert set(doubts(batch(without, schema))) == {None}
    rows = [msgspec.structs.replace(row, tap_rx_packets=None) for row in episode.rows["proc"]]
    unwatched = msgspec.structs.replace(episode, rows={**episode.rows, "proc": rows, "netflow": []})
    windows = batch(unwatched, schema)
    assert set(doubts(windows)) == {None}
    names = [channel.id for channel in schema.channels]
    assert not windows.mask[:, names.index("proc.guest_tx_packets")].all()
    assert windows.mask[:, names.index("proc.cpu_user")].all()


def test_flows_are_doubled_from_the_very_packet_on_that_the_rule_names(schema: FeatureSchema, episode: Episode) -> None:
    """One flow within the span that is judged, beside a tap that rises by a known number of packets."""
    end = window_ends(episode.manifest.started_wall_ns, episode.manifest.ended_wall_ns, schema)[8:9]
    lower, upper = int(end[0]) - LOOK_BACK_NS, int(end[0]) - ARRIVED_NS
    rows = [row for row in episode.rows["proc"] if lower <= row.t_wall_ns <= upper]
    proc = [msgspec.structs.replace(row, tap_rx_packets=min(100, i), tap_tx_packets=0) for i, row in enumerate(rows)]

    def doubt(packets: int) -> str | None:
        at = (lower + upper) // 2
        flow = msgspec.structs.replace(
            episode.rows["netflow"][0],
            t_wall_ns=at, end_wall_ns=at, start_wall_ns=at - SECOND, recv_wall_ns=at + SECOND, packets=packets,
        )  # fmt: skip
        made = msgspec.structs.replace(episode, rows={"proc": proc, "netflow": [flow]})
        return Extractor(schema).extract(columns_of_episode(made, schema), end).doubt("netflow", 0)

    limit = int(MOST * 100 + SLACK)
    assert [doubt(packets) for packets in (59, 60, 100, limit, limit + 1)] == ["silent", None, None, None, "doubled"]


def test_one_record_that_cannot_be_is_left_out_and_counted(episode: Episode, schema: FeatureSchema) -> None:
    """An exporter's uptime of 32 bits wrapped: one flow of 49 days, which was the mean of its windows."""
    middle = len(episode.rows["netflow"]) // 2

    def wrap(flows: Flows) -> Flows:
        old = flows[middle]
        flows[middle] = msgspec.structs.replace(old, start_wall_ns=old.start_wall_ns - 2**32 * 1_000_000)
        return flows

    found = batch(with_flows(episode, wrap), schema)
    without = batch(with_flows(episode, lambda flows: flows[:middle] + flows[middle + 1 :]), schema)
    np.testing.assert_array_equal(found.tensor, without.tensor)
    assert 1 <= np.count_nonzero(found.impossible["netflow"]) <= 3
    assert found.impossible["netflow"].max() == 1


ODD: dict[str, dict[str, Any]] = {
    "ends before it starts": {"start_wall_ns": lambda row: row.end_wall_ns + 1},
    "lasts over a minute": {"start_wall_ns": lambda row: row.end_wall_ns - 60 * SECOND - 1},
    "arrives before it ends": {"recv_wall_ns": lambda row: row.end_wall_ns - SECOND - 1},
    "is not stamped with its end": {"t_wall_ns": lambda row: row.end_wall_ns - 1},
    "has no packet": {"packets": lambda _: 0},
    "has a packet of a mebibyte": {"bytes": lambda row: row.packets << 20},
    "comes from no address": {"src": lambda _: "router"},
    "goes to no address": {"dst": lambda _: "10.77.0.300"},
}


@pytest.mark.parametrize("name", ODD)
def test_a_flow_record_is_left_out_when_it(episode: Episode, schema: FeatureSchema, name: str) -> None:
    middle = len(episode.rows["netflow"]) // 2

    def spoil(flows: Flows) -> Flows:
        changes = {field: make(flows[middle]) for field, make in ODD[name].items()}
        flows[middle] = msgspec.structs.replace(flows[middle], **changes)
        return flows

    windows = batch(with_flows(episode, spoil), schema)
    assert windows.impossible["netflow"].max() == 1
    without = batch(with_flows(episode, lambda flows: flows[:middle] + flows[middle + 1 :]), schema)
    np.testing.assert_array_equal(windows.tensor, without.tensor)


def test_addresses_are_compared_by_value_when_they_are_spelled_otherwise(
    episode: Episode, schema: FeatureSchema
) -> None:
    """A dual-stack guest: the manifest writes IPv6 out, the exporter shortens it, or wraps IPv4 into it."""
    (guest,) = episode.manifest.guest_addresses

    def spelled(text: str, *, v6: bool) -> str:
        if v6:
            return "fd00::2" if text == guest else "fd00:0:0:0::beef"
        return f"::ffff:{text}"

    def mixed(flows: Flows) -> Flows:
        return [
            msgspec.structs.replace(row, src=spelled(row.src, v6=i % 2 == 0), dst=spelled(row.dst, v6=i % 2 == 0))
            for i, row in enumerate(flows)
        ]

    spoiled = with_flows(episode, mixed)
    manifest = msgspec.structs.replace(
        episode.manifest, guest_addresses=[guest, "fd00:0000:0000:0000:0000:0000:0000:0002"]
    )
    windows = batch(msgspec.structs.replace(spoiled, manifest=manifest), schema)
    assert set(doubts(windows)) == {None}
    names = [channel.id for channel in schema.channels]
    at = [names.index(f"netflow.{name}") for name in ("flows", "bytes_out", "bytes_in", "packets_out")]
    np.testing.assert_array_equal(windows.tensor[:, at], batch(episode, schema).tensor[:, at])
