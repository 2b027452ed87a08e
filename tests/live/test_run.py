"""`edge run` where no guest is there to be seen: windows come all the same, and nothing that was queued is lost."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.features.schema import SECOND, FeatureSchema
from edge.deliver.tables import waiting
from edge.deploy.site import Site
from edge.session.status import read_status
from tests.brokers import Subscriber, free_port, mosquitto_on, mosquitto_with
from tests.bundles import make_bundle
from tests.certificates import Authority
from tests.edge.sites import put
from tests.live.clock import Clock
from tests.live.lab import Agent, until

pytestmark = [pytest.mark.slow, pytest.mark.system]


class Place:
    """Where one agent is set up."""

    def __init__(self, folder: Path, bundle: Path, trust: Path) -> None:
        self.folder, self._bundle, self._trust = folder, bundle, trust
        self.port = free_port()
        self.config = folder / "edge.toml"
        self.write()
        self._running: list[Agent] = []

    def write(self, more: str = "") -> None:
        self.config.write_text(
            f'node = "n"\n[broker]\nurl = "mqtt://127.0.0.1:{self.port}"\n[bundle]\nfile = "{self._bundle}"\n'
            f'trust = "{self._trust}"\nstate = "state"\n[outbox]\nfile = "outbox.sqlite"\n{more}\n'
            f'[[guest]]\nid = "g"\nqmp = "none.sock"\n'
        )

    def run(self, *options: str, **env: str) -> Agent:
        log = (self.folder / "agent.log").open("ab")
        command = [sys.executable, "-m", "edge.cli", "run", "--config", str(self.config), *options]
        process = subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, **env})
        self._running.append(Agent(process, self.folder / "agent.log"))
        return self._running[-1]

    def close(self) -> None:
        for agent in self._running:
            if agent.process.poll() is None:
                agent.process.kill()
                agent.process.wait(60)


@pytest.fixture
def place(tmp_path: Path, schema: FeatureSchema, signing_key: Path) -> Iterator[Place]:
    one = Place(tmp_path, make_bundle(tmp_path, schema, signing_key, 0), signing_key.parent)
    yield one
    one.close()


def test_an_agent_that_is_killed_again_and_again_loses_no_event_and_renames_none(place: Place, tmp_path: Path) -> None:
    """What was in the outbox arrives by the next run, with the id that it had."""
    began: dict[str, str] = {}
    for i in range(3):
        agent = place.run("--drain-timeout", "0")
        agent.says("g qmp: ", count=i + 1)
        time.sleep(random.Random().uniform(0.5, 8))  # wherever that may be
        agent.process.send_signal(signal.SIGKILL)
        agent.process.wait(60)
        began = queued(tmp_path / "outbox.sqlite")
    assert len(began) >= 3
    with mosquitto_on(place.port, tmp_path):
        subscriber = Subscriber(f"mqtt://127.0.0.1:{place.port}", tmp_path)
        agent = place.run()
        until(lambda: waiting(tmp_path / "outbox.sqlite") == 0, 60, "empty outbox")
        assert agent.stop() == 0
        subscriber.wait_for(2, "n/availability")
        heard = {json.loads(payload)["id"]: payload for _, topic, payload in subscriber.heard() if "/g/" in topic}
        subscriber.close()
    assert {one: heard[one].decode() for one in began} == began


def queued(path: Path) -> dict[str, str]:
    """Events that wait, by id; all but perf, which may go lost."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)) as db:
            found = db.execute("SELECT id, payload FROM queue WHERE qos").fetchall()
    except sqlite3.OperationalError:  # the agent has not made it yet
        return {}
    return {one: payload.decode() for one, payload in found}


def test_a_machine_whose_clock_is_not_set_waits_says_so_and_starts_by_itself(place: Place, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    clock.set(-time.time() + 1000)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        agent = place.run(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="4000000", **clock.env)
        told: list[str] = []
        waiting = "STATUS=waiting: the clock shows 1970-01-01 and is not set yet"
        while waiting not in told or "WATCHDOG=1" not in told:
            told.append(manager.recv(4096).decode())
        agent.says("the clock shows 1970-01-01 and is not set yet; waiting")
        assert not (tmp_path / "outbox.sqlite").exists()
        clock.set(0)
        while not any(line.startswith("STATUS=watching g") for line in told):
            told.append(manager.recv(4096).decode())
        assert told[0] == "READY=1"
        assert "without qmp, proc" in told[-1] or "without proc, qmp" in told[-1]
        assert agent.stop() == 0
    started = json.loads(next(iter(p for p in queued(tmp_path / "outbox.sqlite").values() if '"started"' in p)))
    assert abs(started["data"]["started_wall_ns"] - time.time_ns()) < 120 * SECOND


def test_a_clock_behind_the_brokers_certificate_keeps_the_events_until_it_is_set(place: Place, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    certificate, key = authority.issue("broker", "localhost", begun=1)
    clock = Clock(tmp_path)
    clock.set(-10 * 86_400)  # as of the last shutdown
    with mosquitto_with(tmp_path, f"certfile {certificate}\nkeyfile {key}") as url:
        tls = f'url = "mqtts://localhost:{url.rpartition(":")[2]}"\nca_file = "{authority.certificate}"'
        place.config.write_text(re.sub('url = ".*"', tls, place.config.read_text()))
        agent = place.run(**clock.env)
        agent.says("certificate is not yet valid; it will be valid later: set this machine's clock")
        until(lambda: windows(tmp_path, "g"), 60, "windows in the outbox")
        clock.set(0)
        agent.says("connected (MQTT 5)", seconds=120)
        until(lambda: not windows(tmp_path, "g"), 60, "delivery of what was kept")
        assert agent.stop() == 0


def test_an_agent_that_waits_takes_its_first_bundle_and_its_first_guest(
    place: Place, tmp_path: Path, schema: FeatureSchema, signing_key: Path
) -> None:
    """As after the package was installed."""
    whole = re.sub('file = ".*bundle"\n', "", place.config.read_text())
    place.config.write_text(whole.partition("[[guest]]")[0])
    agent = place.run("--wait")
    agent.says("no bundle is installed yet: edge install FILE; waiting")
    place.config.write_text("nonsense")
    agent.process.send_signal(signal.SIGHUP)
    agent.says("the old configuration stays: ")
    site = Site(folder=tmp_path / "state", schema=schema, trust_folder=signing_key.parent)
    put(site, make_bundle(tmp_path, schema, signing_key, 0))
    until(lambda: read_status(tmp_path / "state"), 60, "status")
    status = read_status(tmp_path / "state")
    assert status is not None
    assert status.sentence.startswith("watching nothing yet: write a [[guest]] in edge.toml, and reload; ")
    place.config.write_text(whole)
    agent.process.send_signal(signal.SIGHUP)
    agent.says("another configuration: g")
    until(lambda: windows(tmp_path, "g"), 60, "windows")
    assert agent.stop() == 0


def test_an_agent_that_does_not_wait_is_refused_without_a_guest_or_a_bundle(place: Place) -> None:
    whole = re.sub('file = ".*bundle"\n', "", place.config.read_text())
    place.config.write_text(whole)
    agent = place.run()
    assert agent.process.wait(60) == 2
    assert "no bundle is installed; expected one; edge install BUNDLE" in agent.log
    place.config.write_text(whole.partition("[[guest]]")[0])
    agent = place.run()
    assert agent.process.wait(60) == 2
    assert "no [[guest]]; expected the tables of edge.toml" in agent.log


def test_a_guest_that_is_added_and_a_bundle_that_is_installed_cost_no_window(
    place: Place, tmp_path: Path, schema: FeatureSchema, signing_key: Path
) -> None:
    site = Site(folder=tmp_path / "state", schema=schema, trust_folder=signing_key.parent)
    bundles = [make_bundle(tmp_path, schema, signing_key, i) for i in (0, 1)]
    put(site, bundles[0])
    place.config.write_text(re.sub('file = ".*bundle"\n', "", place.config.read_text()))
    agent = place.run()
    until(lambda: len(windows(tmp_path, "g")) >= 2, 60, "windows")
    place.config.write_text(place.config.read_text() + '[[guest]]\nid = "h"\nqmp = "other.sock"\n')
    agent.process.send_signal(signal.SIGHUP)
    agent.says("another configuration: g, h")
    put(site, bundles[1])
    until(lambda: len({one["bundle"]["name"] for one in windows(tmp_path, "g")}) == 2, 60, "another bundle")
    until(lambda: windows(tmp_path, "h"), 60, "windows of the other guest")
    assert agent.stop() == 0
    found = windows(tmp_path, "g")
    assert {b["end_wall_ns"] - a["end_wall_ns"] for a, b in itertools.pairwise(found)} == {5 * SECOND}
    names = [one["bundle"]["name"] for one in found]
    assert names == sorted(names)  # one after the other
    assert len({one["episode_id"] for one in found}) == 1
    assert windows(tmp_path, "h")[-1]["bundle"]["name"] == names[-1]


def windows(folder: Path, guest: str) -> list[dict[str, Any]]:
    """Those of a guest that wait, in order."""
    documents = [json.loads(payload) for payload in queued(folder / "outbox.sqlite").values() if payload]
    mine = [one for one in documents if one["source"].endswith(f"/{guest}") and "window" in one["type"]]
    return sorted((one["data"] for one in mine), key=lambda data: int(data["end_wall_ns"]))


def test_its_figures_can_be_scraped(place: Place) -> None:
    port = free_port()
    place.write(f'[prometheus]\nlisten = "127.0.0.1:{port}"')
    agent = place.run()
    agent.says("g qmp: ")

    def scraped() -> str:
        with (
            contextlib.suppress(urllib.error.URLError),  # it is just starting
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer,
        ):
            return str(answer.read().decode())
        return ""

    until(lambda: 'phasewatch_source_up{guest="g",source="qmp"} 0.0' in scraped(), 60, "figures")
    text = scraped()
    assert 'phasewatch_rss_bytes{guest="g"}' in text
    assert agent.stop() == 0


def test_a_disk_that_is_full_stops_recordings_and_no_window(place: Place, tmp_path: Path) -> None:
    tiny = tmp_path / "tiny"
    tiny.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tiny)], check=True)
    try:
        (tiny / "filler").write_bytes(b"x" * (os.statvfs(tiny).f_bavail * os.statvfs(tiny).f_bsize))
        agent = place.run("--tee", str(tiny / "store"))
        agent.says("recording of g stops for now", 60)
        before = count(tmp_path)
        until(lambda: count(tmp_path) > before, 60, "window")
        assert agent.stop() == 0
    finally:
        subprocess.run(["umount", str(tiny)], check=True)


def count(folder: Path) -> int:
    """Windows that wait."""
    return sum('"phasewatch.window.v1"' in payload for payload in queued(folder / "outbox.sqlite").values())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text.replace('id = "g"', 'id = "g"\ntapp = "x"'), r"edge.toml:13: unknown key `tapp`"),
        (lambda text: text.replace(".bundle", ".bundl"), r"no such file"),
        (lambda text: text.replace("mqtt://", "http://"), r"scheme 'http'"),
    ],
)
def test_what_will_not_do_is_refused_before_anything_starts(place: Place, spoil: Any, message: str) -> None:
    place.config.write_text(spoil(place.config.read_text()))
    agent = place.run()
    assert agent.process.wait(60) == 2
    assert message in agent.log
    assert not (place.folder / "outbox.sqlite").exists()
    assert len(agent.log.splitlines()) == 1
