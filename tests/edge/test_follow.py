"""A running agent takes what is installed meanwhile, and loses no window; a shadow rides along, and changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.bundle.keys import generate_key
from contracts.features.schema import FeatureSchema
from contracts.telemetry.episode import Episode, read_episode
from edge.deliver.outbox import opened
from edge.deploy.deployment import bundle_path, read_deployment
from edge.deploy.follow import Follower
from edge.deploy.site import Site
from edge.deploy.verbs import dismiss, promote, rollback
from edge.feeds.replay import arrivals, replay, subject_of
from edge.model.models import Fixed
from edge.model.shadow import Shadow
from edge.watch.agent import Agent
from edge.watch.health import Health
from tests.bundles import make_bundle
from tests.edge.sites import loaded, put
from tests.recordings import ONE, ORDERED

OLD, NEW, THIRD = (f"gbt-realistic-{favourite:012x}" for favourite in range(3))


@pytest.fixture
def site(site: Site, bundles: list[Path]) -> Site:
    put(site, bundles[0])
    return site


Found = list[tuple[str, dict[str, Any]]]


def watched(
    site: Site, models: Fixed | Follower, episode: Episode, outbox: Path, at: dict[int, Callable[[], object]]
) -> Found:
    """(kind, data) of all events of a replay; `at` says what happens after so many seconds of the recording."""
    with opened(outbox) as box:
        agent = Agent(models, site.schema, node="n", outbox=box, health=Health())
        agent.begin(subject_of(episode))
        start, left = episode.manifest.started_wall_ns, dict(at)
        for arrival, _, source, row in arrivals(episode):
            for second in [second for second in left if arrival - start > second * 1e9]:
                if isinstance(models, Follower) and models._loading is not None:
                    loaded(models)  # the agent looks at its own notes: it takes them with the next window
                    continue
                left.pop(second)()
                if isinstance(models, Follower):  # the recording runs faster than a disk
                    loaded(models)
            agent.advance(arrival - 1)
            agent.feed(source, row)
        agent.advance(episode.manifest.ended_wall_ns + site.schema.settle_ns)
        agent.end()
        messages = box.pending(10_000)
    models.close()
    return [(m.topic.rpartition("/")[2], json.loads(m.payload)["data"]) for m in messages]


def windows(found: Found) -> list[dict[str, Any]]:
    return [data for kind, data in found if kind == "window"]


def plain(found: Found) -> list[dict[str, Any]]:
    """Windows without what differs by the model."""
    shared = ("start_wall_ns", "end_wall_ns", "observed", "truth", "purity", "flags")
    return [{name: window[name] for name in shared} for window in windows(found)]


def speakers(found: Found) -> list[str]:
    """Who spoke, in order, each once."""
    return list(dict.fromkeys(window["bundle"]["name"] for window in windows(found)))


def test_a_running_agent_takes_a_new_bundle_between_two_windows_and_loses_none(
    site: Site, bundles: list[Path], episode: Episode, tmp_path: Path
) -> None:
    alone = watched(site, Follower(site), episode, tmp_path / "a", {})
    found = watched(site, Follower(site), episode, tmp_path / "b", {40: lambda: put(site, bundles[1])})
    assert plain(found) == plain(alone)
    assert speakers(found) == [OLD, NEW]
    named = [window["bundle"]["name"] for window in windows(found)]
    assert named == [OLD] * named.count(OLD) + [NEW] * named.count(NEW)
    assert 5 <= named.count(OLD) <= 9  # 40 s of a recording
    # the new one introduces itself at once, and is proven by what it did
    cards = [data["bundle"]["name"] for kind, data in found if kind == "metrics" and data["basis"] == "scorecard"]
    assert cards == [OLD, NEW]
    running = [data for kind, data in found if kind == "metrics" and data["basis"] == "running"]
    assert [data["bundle"]["name"] for data in running] == [OLD, NEW]
    assert [data["windows"] for data in running] == [named.count(OLD), named.count(NEW)]
    current = read_deployment(site.folder).current
    assert current is not None
    assert (current.name, current.proven) == (NEW, True)


def test_a_running_agent_follows_a_rollback_and_a_promotion(
    site: Site, bundles: list[Path], episode: Episode, tmp_path: Path
) -> None:
    steps: dict[int, Callable[[], object]] = {
        30: lambda: put(site, bundles[1]),
        60: lambda: rollback(site),
        80: lambda: put(site, bundles[2], shadow=True),
        100: lambda: promote(site),
    }
    alone = watched(site, Follower(site), episode, tmp_path / "a", {})
    found = watched(site, Follower(site), episode, tmp_path / "b", steps)
    assert plain(found) == plain(alone)
    named = [window["bundle"]["name"] for window in windows(found)]
    changes = [name for i, name in enumerate(named) if i == 0 or named[i - 1] != name]
    assert changes == [OLD, NEW, OLD, THIRD]


def test_a_running_agent_trusts_a_key_that_comes_while_it_runs(
    bundles: list[Path], episode: Episode, tmp_path: Path, schema: FeatureSchema, signing_key: Path
) -> None:
    trust = tmp_path / "trust"
    trust.mkdir()
    (trust / "first.pub").write_bytes(signing_key.with_suffix(".pub").read_bytes())
    site = Site(folder=tmp_path / "rotating", schema=schema, trust_folder=trust)
    put(site, bundles[0])
    generate_key(tmp_path / "next" / "next.key")
    signed = make_bundle(tmp_path / "next", schema, tmp_path / "next" / "next.key", 1)

    def rotated() -> None:
        (trust / "next.pub").write_bytes((tmp_path / "next" / "next.pub").read_bytes())
        put(site, signed)

    found = watched(site, Follower(site), episode, tmp_path / "b", {40: rotated})
    assert speakers(found) == [OLD, NEW]
    state = read_deployment(site.folder)
    assert state.current is not None
    assert (state.current.name, state.returned) == (NEW, None)


def test_a_bundle_that_is_installed_again_is_on_trial_again_and_proven_again(
    site: Site, bundles: list[Path], episode: Episode, tmp_path: Path
) -> None:
    found = watched(site, Follower(site), episode, tmp_path / "b", {60: lambda: put(site, bundles[0])})
    assert speakers(found) == [OLD]
    state = read_deployment(site.folder)
    assert state.current is not None
    assert state.current.proven


def test_a_long_watch_costs_a_shadow_no_more_than_a_days(site: Site, bundles: list[Path]) -> None:
    put(site, bundles[1], shadow=True)
    models = Follower(site)
    assert models.shadow is not None
    shadow = Shadow(models.shadow, site.schema)
    shadow._blocks = [[60, i % 2] for i in range(288)]
    before = shadow.disagreement()
    shadow._open_block()
    assert len(shadow._blocks) == 145
    assert shadow._size == 120
    assert sum(windows for windows, _ in shadow._blocks) == 288 * 60
    assert shadow.disagreement().value == before.value
    models.close()


def test_a_running_agent_goes_on_when_what_was_installed_cannot_be_opened(
    site: Site, bundles: list[Path], episode: Episode, tmp_path: Path
) -> None:
    def spoiled() -> None:
        put(site, bundles[1])
        current = read_deployment(site.folder).current
        assert current is not None
        bundle_path(site.folder, current).write_bytes(b"spoiled on its way to the disk")

    alone = watched(site, Follower(site), episode, tmp_path / "a", {})
    found = watched(site, Follower(site), episode, tmp_path / "b", {40: spoiled})
    assert speakers(found) == [OLD]
    assert plain(found) == plain(alone)
    state = read_deployment(site.folder)
    assert state.current is not None
    assert state.current.name == OLD
    assert state.returned is not None
    assert "expected exactly the archive that was packed" in state.returned.why


def test_a_running_agent_goes_on_when_the_state_is_spoiled(site: Site, episode: Episode, tmp_path: Path) -> None:
    state = site.folder / "deployment.json"
    found = watched(site, Follower(site), episode, tmp_path / "b", {40: lambda: state.write_bytes(b"{")})
    assert speakers(found) == [OLD]
    assert len(windows(found)) > 20


def test_a_bundle_that_is_late_is_left_by_the_running_agent(
    site: Site, bundles: list[Path], episode: Episode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge.watch import agent

    put(site, bundles[1])
    monkeypatch.setenv("PW1_SLOW", "1")  # its windows take 30 ms ...
    monkeypatch.setattr(agent, "late_ns", lambda _schema: 25_000_000)  # ... and the next one comes after 25
    models = Follower(site)

    found = watched(site, models, episode, tmp_path / "b", dict.fromkeys(range(20, 60), lambda: None))
    assert speakers(found) == [NEW, OLD]
    state = read_deployment(site.folder)
    assert state.returned is not None
    assert state.returned.why == "missed its watchdog 3 times in a row"


def test_a_shadow_rides_along_and_changes_nothing(
    site: Site, bundles: list[Path], episode: Episode, tmp_path: Path
) -> None:
    alone = watched(site, Follower(site), episode, tmp_path / "a", {})
    put(site, bundles[1], shadow=True)
    found = watched(site, Follower(site), episode, tmp_path / "b", {})
    assert [{**window, "shadow": None} for window in windows(found)] == windows(alone)
    both = windows(found)
    assert {window["shadow"]["bundle"]["name"] for window in both} == {NEW}
    unlike = sum(window["shadow"]["decided"] != window["decided"] for window in both)
    assert unlike == len(both)  # they like different phases
    costs = [data["shadow"] for kind, data in found if kind == "perf"]
    assert costs[-1]["windows"] == len(both)
    assert costs[-1]["disagreement"]["value"] == 1.0
    assert costs[0]["inference_ms"]["count"] > 0
    assert costs[0]["inference_ms"]["p50"] > 0
    (score,) = [data["shadow"] for kind, data in found if kind == "metrics" and data["basis"] == "running"]
    assert score["windows"] == len(both)
    assert score["difference"]["low"] is None  # of one episode
    assert all(data["shadow"] is None for kind, data in found if kind == "metrics" and data["basis"] == "scorecard")


def test_a_shadows_difference_is_paired_by_episode(
    site: Site, bundles: list[Path], episode: Episode, tmp_path: Path
) -> None:
    put(site, bundles[1], shadow=True)
    models = Follower(site)
    with opened(tmp_path / "box") as box:
        agent = Agent(models, site.schema, node="n", outbox=box, health=Health())
        for some in (episode, read_episode(ORDERED / "lab-q35-2" / "lab-q35-2-bursty-c2-s03")):
            replay(agent, some, site.schema, None)
        last = [json.loads(m.payload)["data"] for m in box.pending(10_000) if m.topic.endswith("metrics")][-1]
    models.close()
    score, active = last["shadow"], last["macro_f1"]["value"]
    assert abs(score["difference"]["value"] - (score["macro_f1"]["value"] - active)) < 1e-9
    assert score["difference"]["low"] <= score["difference"]["value"] <= score["difference"]["high"]
    assert score["disagreement"]["low"] <= 1.0 <= score["disagreement"]["high"]


def test_a_shadow_that_fails_is_dismissed_and_the_watch_goes_on(
    site: Site, bundles: list[Path], episode: Episode, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(site, bundles[1], shadow=True)
    models = Follower(site)
    assert models.shadow is not None

    def fails(_window: object) -> object:
        raise RuntimeError("out of order")

    models.shadow.runtime.predict = fails  # type: ignore[method-assign,assignment]  # a shadow out of order
    found = watched(site, models, episode, tmp_path / "b", {})
    assert len(windows(found)) > 20
    assert all(window["shadow"] is None for window in windows(found))
    assert read_deployment(site.folder).shadow is None
    assert f"shadow {NEW} is dismissed: RuntimeError: out of order" in caplog.text


def test_a_shadow_that_is_dismissed_is_gone_from_the_next_window_on(
    site: Site, bundles: list[Path], episode: Episode, tmp_path: Path
) -> None:
    put(site, bundles[1], shadow=True)
    found = watched(site, Follower(site), episode, tmp_path / "b", {60: lambda: dismiss(site.folder)})
    there = [window["shadow"] is not None for window in windows(found)]
    assert there == [True] * there.count(True) + [False] * there.count(False)
    assert 5 < there.count(True) < len(there) - 5


@pytest.mark.slow
def test_a_real_replay_takes_a_bundle_that_the_command_installs_meanwhile(
    site: Site, bundles: list[Path], tmp_path: Path, signing_key: Path, mosquitto: str
) -> None:
    """Two real commands and a real broker: the paced replay goes on while another process installs."""
    where = ["--state", str(site.folder), "--trust", str(signing_key.parent)]
    edge = [sys.executable, "-m", "edge.cli"]
    listen = subprocess.Popen(
        ["mosquitto_sub", "-p", mosquitto.rpartition(":")[2], "-t", "phasewatch/+/+/window", "-q", "1"],
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(0.5)
    running = subprocess.Popen(
        [*edge, "replay", str(ONE), "--broker", mosquitto, "--speed", "20", "--outbox", str(tmp_path / "box"), *where],
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(3)
    subprocess.run([*edge, "install", str(bundles[1]), *where], check=True, capture_output=True)
    _, said = running.communicate(timeout=60)
    listen.kill()  # its handler of SIGTERM may hang: tests/brokers.py
    heard = [json.loads(line)["data"] for line in listen.communicate()[0].splitlines()]
    assert running.returncode == 0, said
    assert f"edge: {NEW} takes over from {OLD}" in said
    ends = [window["end_wall_ns"] for window in heard]
    assert ends == list(range(ends[0], ends[-1] + 1, 5_000_000_000))  # none lost, none twice
    named = [window["bundle"]["name"] for window in heard]
    assert named == [OLD] * named.count(OLD) + [NEW] * named.count(NEW)
    assert named.count(OLD) > 2
    assert named.count(NEW) > 2
