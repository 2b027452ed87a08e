"""Rows to events, without a broker: what lands in the outbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.bundle.archive import read_bundle
from contracts.events.envelope import EVENT_KINDS
from contracts.features.schema import SECOND, FeatureSchema
from contracts.telemetry.episode import Episode, read_episode
from edge.deliver.outbox import opened
from edge.feeds.replay import replay
from edge.model.models import Fixed
from edge.model.opened import activate
from edge.watch.agent import Agent
from edge.watch.health import Health
from tests.conftest import Build
from tests.recordings import FEW, ORDERED, edit_manifest, of_corpus

pytestmark = pytest.mark.slow


def told(window: dict[str, Any]) -> list[str]:
    """A window's flags, but for `unfamiliar`: these recordings are of other guests than the build learned from."""
    return [flag for flag in window["flags"] if flag != "unfamiliar"]


def events_of(
    folder: Path, built: Build, schema: FeatureSchema, *episodes: Episode, name: str = "gbt-realistic"
) -> list[tuple[str, dict[str, Any], bytes]]:
    """(kind, document, payload) of everything that one agent says about some recordings."""
    with opened(folder / "outbox") as outbox:
        models = Fixed(activate(built.bundle(name), schema, built.trust))
        agent = Agent(models, schema, node="n", outbox=outbox, health=Health())
        for episode in episodes:
            replay(agent, episode, schema, None)
        messages = outbox.pending(10_000)
    return [(m.topic.rpartition("/")[2], json.loads(m.payload), m.payload) for m in messages]


def test_replay_emits_all_six_kinds_in_a_sensible_order(
    tmp_path: Path, built: Build, schema: FeatureSchema, episode: Episode
) -> None:
    found = events_of(tmp_path, built, schema, episode)
    kinds = [kind for kind, _, _ in found]
    assert set(kinds) == {kind.name for kind in EVENT_KINDS}
    assert kinds[:4] == ["metrics", "confusion", "profiles", "episode"]
    assert kinds[-5:] == ["episode", "metrics", "confusion", "profiles", "perf"]
    assert {document["featureschema"] for _, document, _ in found} == {schema.hash}
    ids = [(document["source"], document["id"]) for _, document, _ in found]
    assert len(set(ids)) == len(ids)


def test_a_second_replay_gives_the_same_window_events_byte_for_byte(
    tmp_path: Path, built: Build, schema: FeatureSchema, episode: Episode
) -> None:
    def windows(folder: Path) -> list[bytes]:
        folder.mkdir()
        return [payload for kind, _, payload in events_of(folder, built, schema, episode) if kind != "perf"]

    assert windows(tmp_path / "a") == windows(tmp_path / "b")


def test_windows_say_what_is_known_and_seen(
    tmp_path: Path, built: Build, schema: FeatureSchema, episode: Episode
) -> None:
    found = events_of(tmp_path, built, schema, episode)
    threshold = read_bundle(built.bundle("gbt-realistic"), schema=schema, trust=built.trust).manifest.abstain_below
    assert 0.3 < threshold < 0.7
    windows = [document["data"] for kind, document, _ in found if kind == "window"]
    ends = [window["end_wall_ns"] for window in windows]
    assert all(end % (5 * SECOND) == 0 for end in ends)
    assert ends == sorted(set(ends))
    for window in windows:
        assert window["truth"] in window["probabilities"]
        best = max(window["probabilities"], key=window["probabilities"].get)
        assert window["decided"] == (best if window["probabilities"][best] >= threshold else None)
        assert abs(sum(window["probabilities"].values()) - 1) < 1e-4
        assert window["observed"].keys() == {"proc", "qmp", "guest", "netflow"}
        assert len(window["top_channels"]) == 3
        assert not [top for top in window["top_channels"] if top["channel"].startswith("guest.")]
        assert window["bundle"]["key"] == "test"
    (ended,) = [d["data"] for kind, d, _ in found if kind == "episode" and d["data"]["state"] == "ended"]
    assert ended["windows"] == len(windows)


def test_a_real_model_decides_most_windows_of_recordings_held_out_and_is_right_far_more_often_than_by_chance(
    tmp_path: Path, built: Build, schema: FeatureSchema
) -> None:
    held_out = [read_episode(of_corpus("arm-1", number)) for number in FEW["arm-1"]]
    found = events_of(tmp_path, built, schema, *held_out)
    windows = [document["data"] for kind, document, _ in found if kind == "window"]
    decided = [window for window in windows if window["decided"]]
    assert len(decided) > len(windows) * 0.6
    right = sum(window["truth"] == window["decided"] for window in decided)
    assert right > len(decided) * 0.4  # guessing would be right in a fifth


def test_running_scores_count_every_window_whose_truth_is_known(
    tmp_path: Path, built: Build, schema: FeatureSchema, episode: Episode
) -> None:
    second = read_episode(ORDERED / "lab-q35-2" / "lab-q35-2-bursty-c2-s03")
    found = events_of(tmp_path, built, schema, episode, second)
    windows = sum(kind == "window" for kind, _, _ in found)
    running = [d["data"] for kind, d, _ in found if kind == "metrics" and d["data"]["basis"] == "running"]
    assert [one["episodes"] for one in running] == [1, 2]
    assert running[0]["macro_f1"]["low"] is None  # one episode: nothing to resample
    assert running[1]["macro_f1"]["low"] <= running[1]["macro_f1"]["value"] <= running[1]["macro_f1"]["high"]
    assert running[1]["windows"] == windows
    confusion = [d["data"] for kind, d, _ in found if kind == "confusion"][-1]
    assert sum(map(sum, confusion["matrix"])) == windows
    profiles = [d["data"] for kind, d, _ in found if kind == "profiles"][-1]
    assert profiles["profiles"].keys() == {"io-walk", "bursty-c2"}
    assert "scan-and-dial" in profiles["untested_profiles"]


def test_scorecard_is_what_the_bundle_says_of_itself(
    tmp_path: Path, built: Build, schema: FeatureSchema, episode: Episode
) -> None:
    index = json.loads((built.out / "index.json").read_text())
    (entry,) = [e for e in index["bundles"] if e["architecture"] == "cnn" and e["threat_model"] == "oracle"]
    found = events_of(tmp_path, built, schema, episode, name="cnn-oracle")
    card = found[0][1]["data"]
    assert card["basis"] == "scorecard"
    assert card["macro_f1"] == entry["macro_f1"]
    assert card["per_host"].keys() == {"arm-1"}
    profiles = found[2][1]["data"]
    assert profiles["untested_profiles"] == ["low-and-slow", "scan-and-dial"]
    assert profiles["profiles"].keys() == {"bulk-upload", "cpu-saturate", "everyday"}


def test_an_episode_without_netflow_is_marked_degraded_when_allowed(
    tmp_path: Path, built: Build, schema: FeatureSchema, spoiled: Path
) -> None:
    edit_manifest(spoiled, lambda manifest: manifest["files"].pop("netflow.jsonl.zst"))
    found = events_of(tmp_path, built, schema, read_episode(spoiled, allow_missing=True))
    windows = [document["data"] for kind, document, _ in found if kind == "window"]
    assert all(window["observed"]["netflow"] == 0 and told(window) == ["degraded"] for window in windows)
    ended = [d["data"] for kind, d, _ in found if kind == "episode"][-1]
    assert ended["gaps"]["netflow"] == len(windows)


def test_a_watch_without_a_row_abstains(tmp_path: Path, built: Build, schema: FeatureSchema, episode: Episode) -> None:
    blind = msgspec.structs.replace(episode, rows={source: [] for source in episode.rows})
    windows = [d["data"] for kind, d, _ in events_of(tmp_path, built, schema, blind) if kind == "window"]
    assert windows
    assert all(window["decided"] is None and told(window) == ["degraded"] for window in windows)


def test_a_missing_guest_feed_does_not_degrade_a_realistic_model(
    tmp_path: Path, built: Build, schema: FeatureSchema, episode: Episode
) -> None:
    rows = {source: some for source, some in episode.rows.items() if source != "guest"}
    blind = msgspec.structs.replace(episode, rows=rows)
    for name, flags in (("gbt-realistic", []), ("gbt-oracle", ["degraded"])):
        (tmp_path / name).mkdir()
        found = events_of(tmp_path / name, built, schema, blind, name=name)
        assert all(told(d["data"]) == flags for kind, d, _ in found if kind == "window")


def test_rows_that_a_full_ring_pushed_out_flag_every_window_that_wanted_them(
    tmp_path: Path, built: Build, schema: FeatureSchema, episode: Episode, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge.watch import ring

    monkeypatch.setitem(ring.CAPACITY, "netflow", 4)
    found = events_of(tmp_path, built, schema, episode)
    flagged = ["rows_dropped" in d["data"]["flags"] for kind, d, _ in found if kind == "window"]
    assert any(flagged)
    first = flagged.index(True)
    assert all(flagged[first : first + 7])  # 40 s of looking back are eight windows


def test_a_flow_from_the_far_future_ends_no_replay(
    tmp_path: Path, built: Build, schema: FeatureSchema, episode: Episode
) -> None:
    late = msgspec.structs.replace(episode.rows["netflow"][-1], recv_wall_ns=2**62)
    rows = {**episode.rows, "netflow": [*episode.rows["netflow"][:-1], late]}
    found = events_of(tmp_path, built, schema, msgspec.structs.replace(episode, rows=rows))
    assert sum(kind == "window" for kind, _, _ in found) > 20


def test_a_clock_step_is_flagged_and_the_watch_goes_on(
    tmp_path: Path, built: Build, schema: FeatureSchema, episode: Episode
) -> None:
    middle = len(episode.rows["proc"]) // 2
    rows = dict(episode.rows)
    rows["proc"] = [
        msgspec.structs.replace(row, t_wall_ns=row.t_wall_ns + (2 * SECOND if i >= middle else 0))
        for i, row in enumerate(rows["proc"])
    ]
    found = events_of(tmp_path, built, schema, msgspec.structs.replace(episode, rows=rows))
    flags = [told(document["data"]) for kind, document, _ in found if kind == "window"]
    assert 2 <= flags.count(["clock_step"]) <= 4
    assert flags[0] == flags[-1] == []


def test_perf_comes_every_30_seconds_of_the_recording_and_at_its_end(
    tmp_path: Path, built: Build, schema: FeatureSchema, episode: Episode
) -> None:
    found = [document["data"] for kind, document, _ in events_of(tmp_path, built, schema, episode) if kind == "perf"]
    seconds = (episode.manifest.ended_wall_ns - episode.manifest.started_wall_ns) / SECOND
    assert len(found) == int(seconds // 30) + 1
    assert found[0]["extraction_ms"]["count"] >= 3
    assert found[0]["rss_bytes"] > 10_000_000
    assert found[-1]["outbox_depth"] > 20
