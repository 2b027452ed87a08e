"""The whole road: recordings -> bundle -> `edge replay` -> a real mosquitto -> mosquitto_sub -> JSON Schema."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import jsonschema
import pytest

from tests.brokers import Subscriber, free_port, mosquitto_on
from tests.conftest import Build
from tests.recordings import ORDERED

pytestmark = [pytest.mark.slow, pytest.mark.system]
SEQUENCE = re.compile(rb',"sequence":"\d{16}"')
SCHEMAS = Path(__file__).parents[2] / "docs" / "events"
EPISODES = [ORDERED / "lab-q35-2" / f"lab-q35-2-{name}" for name in ("io-walk-s01", "bursty-c2-s03")]


def replay_command(built: Build, folder: Path, url: str, *options: str, name: str = "gbt-realistic") -> list[str]:
    command = [sys.executable, "-m", "edge.cli", "replay", *map(str, EPISODES), "--bundle", str(built.bundle(name))]
    command += ["--broker", url, "--trust", str(built.key.parent), "--node", "pi-1"]
    return [*command, "--outbox", str(folder / "outbox.sqlite"), *options]


def run_replay(
    built: Build, folder: Path, url: str, *options: str, name: str = "gbt-realistic"
) -> subprocess.CompletedProcess[str]:
    command = replay_command(built, folder, url, *options, name=name)
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["gbt-realistic", "cnn-oracle"])
def test_six_kinds_of_event_arrive_and_each_fits_its_published_schema(
    tmp_path: Path, mosquitto: str, built: Build, name: str
) -> None:
    subscriber = Subscriber(mosquitto, tmp_path)
    done = run_replay(built, tmp_path, mosquitto, name=name)
    assert done.returncode == 0, done.stderr
    subscriber.wait_for(2, "pi-1/availability")
    heard = subscriber.heard()
    subscriber.close()
    seen: Counter[str] = Counter()
    for _, topic, payload in heard:
        level = topic.rpartition("/")[2]
        seen[level] += 1
        if level != "availability":
            schema = json.loads((SCHEMAS / f"{level}.schema.json").read_text())
            jsonschema.validate(json.loads(payload), schema)
            assert topic.startswith("phasewatch/pi-1/lab-q35-2-g")
    assert set(seen) == {"episode", "window", "metrics", "confusion", "perf", "profiles", "availability"}
    assert seen["window"] > 40
    ids = [json.loads(payload)["id"] for _, topic, payload in heard if topic.endswith("window")]
    assert len(set(ids)) == len(ids)
    assert [payload for _, topic, payload in heard if topic.endswith("availability")] == [b"online", b"stopped"]


def test_a_second_replay_gives_the_same_window_events_byte_for_byte(
    tmp_path: Path, mosquitto: str, built: Build
) -> None:
    subscriber = Subscriber(mosquitto, tmp_path)
    assert run_replay(built, tmp_path, mosquitto).returncode == 0
    subscriber.wait_for(2, "pi-1/availability")
    first = subscriber.wait_for(40, "/window")
    assert run_replay(built, tmp_path, mosquitto, "--speed", "100").returncode == 0
    both = subscriber.wait_for(2 * len(first), "/window")
    subscriber.close()
    # byte for byte, but for the place in the stream, which goes on
    assert [SEQUENCE.sub(b"", one) for one in both[len(first) :]] == [SEQUENCE.sub(b"", one) for one in first]


def test_scorecards_are_retained_for_a_late_subscriber_and_nothing_else(
    tmp_path: Path, mosquitto: str, built: Build
) -> None:
    assert run_replay(built, tmp_path, mosquitto).returncode == 0
    late = Subscriber(mosquitto, tmp_path)
    late.wait_for(2, "/profiles")
    time.sleep(0.5)  # for what should not be there
    late.close()
    heard = late.heard()
    assert all(retained for retained, _, _ in heard)
    assert Counter(topic.rpartition("/")[2] for _, topic, _ in heard) == {
        "availability": 1,
        "metrics": 2,  # two guests
        "confusion": 2,
        "profiles": 2,
    }
    cards = [json.loads(payload)["data"] for _, topic, payload in heard if topic.endswith("metrics")]
    assert all(card["basis"] == "scorecard" for card in cards)


def test_a_broker_that_is_not_there_is_one_line_and_the_events_arrive_when_it_returns(
    tmp_path: Path, built: Build
) -> None:
    port = free_port()
    away = run_replay(built, tmp_path, f"mqtt://127.0.0.1:{port}", "--drain-timeout", "1")
    assert away.returncode == 1
    last = away.stderr.splitlines()[-1]
    assert last.startswith(f"edge: mqtt://127.0.0.1:{port}: TCP: nobody answers at port {port}: Connection refused; ")
    assert "events are kept in" in last
    assert last.endswith("expected an MQTT broker; once it takes them, the next replay sends them first")
    assert "Traceback" not in away.stderr

    with mosquitto_on(port, tmp_path) as url:
        subscriber = Subscriber(url, tmp_path)
        again = run_replay(built, tmp_path, url)
        assert again.returncode == 0, again.stderr
        assert "events of an earlier run go first" in again.stderr
        subscriber.wait_for(2, "pi-1/availability")
        payloads = [payload for _, topic, payload in subscriber.heard() if topic.endswith("/window")]
        subscriber.close()
    # Each arrives, in order, and again by the second replay, unless it was still waiting then: that is one event.
    once = list(dict.fromkeys(SEQUENCE.sub(b"", one) for one in payloads))
    ends = [json.loads(payload)["data"]["end_wall_ns"] for payload in once]
    assert set(ends) == run_windows(built, tmp_path)
    assert len(ends) == len(set(ends))
    assert len(once) <= len(payloads) <= 2 * len(once)


def test_the_broker_may_go_in_the_middle_and_nothing_is_lost(tmp_path: Path, built: Build) -> None:
    port = free_port()
    url = f"mqtt://127.0.0.1:{port}"
    command = replay_command(built, tmp_path, url, "--speed", "60", "--drain-timeout", "60")
    with mosquitto_on(port, tmp_path):
        subscriber = Subscriber(url, tmp_path, session="watcher")
        agent = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        subscriber.wait_for(5, "/window")
        subscriber.close()  # before looking: what it has acknowledged it has written
        first = [payload for _, topic, payload in subscriber.heard() if topic.endswith("/window")]
    time.sleep(1)
    with mosquitto_on(port, tmp_path):
        subscriber = Subscriber(url, tmp_path, session="watcher")
        assert agent.wait(120) == 0
        subscriber.wait_for(2, "pi-1/availability")
        later = [payload for _, topic, payload in subscriber.heard() if topic.endswith("/window")]
        subscriber.close()
    assert agent.stderr is not None
    assert "connection lost" in agent.stderr.read()
    agent.stderr.close()
    seen = {json.loads(payload)["data"]["end_wall_ns"] for payload in [*first, *later]}
    whole = run_windows(built, tmp_path)
    assert seen == whole


def run_windows(built: Build, folder: Path) -> set[int]:
    """The ends of all windows of the recordings."""
    from contracts.features.schema import feature_schema
    from contracts.telemetry.episode import read_manifest
    from edge.extract import window_ends

    found: set[int] = set()
    for path in EPISODES:
        manifest = read_manifest(path)
        found.update(window_ends(manifest.started_wall_ns, manifest.ended_wall_ns, feature_schema()).tolist())
    return found


def test_stopping_the_agent_ends_it_in_order_and_keeps_its_events(tmp_path: Path, mosquitto: str, built: Build) -> None:
    subscriber = Subscriber(mosquitto, tmp_path)
    agent = subprocess.Popen(replay_command(built, tmp_path, mosquitto, "--speed", "1"), stderr=subprocess.DEVNULL)
    subscriber.wait_for(1, "/episode")
    os.kill(agent.pid, signal.SIGTERM)
    assert agent.wait(60) == 130
    assert subscriber.wait_for(2, "pi-1/availability") == [b"online", b"stopped"]
    subscriber.close()


def test_killing_the_agent_leaves_offline_by_last_will(tmp_path: Path, mosquitto: str, built: Build) -> None:
    subscriber = Subscriber(mosquitto, tmp_path)
    agent = subprocess.Popen(replay_command(built, tmp_path, mosquitto, "--speed", "1"), stderr=subprocess.DEVNULL)
    subscriber.wait_for(1, "/episode")
    agent.kill()
    agent.wait(60)
    assert subscriber.wait_for(2, "pi-1/availability") == [b"online", b"offline"]
    subscriber.close()


def test_replay_speed_is_kept(tmp_path: Path, mosquitto: str, built: Build) -> None:
    """Bounds, not a benchmark: 123 s at 60 times take at least 2 s, and are not played in one go."""
    began = time.monotonic()
    command = replay_command(built, tmp_path, mosquitto, "--speed", "60")
    command.remove(str(EPISODES[1]))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert time.monotonic() - began > 2
