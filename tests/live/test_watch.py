"""One real guest, watched from before its boot until after its end, and everything that can go wrong meanwhile.

QEMU, QMP, virtio-serial, a flow exporter and a broker are real. The wall clock of the agent alone is set. The scenario
runs once; each test reads what came of it.
"""

from __future__ import annotations

import itertools
import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from contracts.bundle.keys import load_trusted_keys
from contracts.features.schema import SECOND, FeatureSchema
from contracts.telemetry.episode import read_episode, read_manifest
from contracts.telemetry.parts import watch_part
from edge.deliver.outbox import opened
from edge.feeds.replay import replay, watches
from edge.model.models import Fixed
from edge.model.opened import activate
from edge.watch.agent import Agent as Decider
from edge.watch.health import Health
from tests.bundles import make_bundle
from tests.live.clock import Clock
from tests.live.lab import Agent, Guest, Lab, config, end, events, until

pytestmark = [pytest.mark.slow, pytest.mark.system]
TRAFFIC = "(while :; do wget -q -O /dev/null http://10.77.0.1:8080/; sleep 1; done) >/dev/null 2>&1 &"
SCHEMAS = Path(__file__).parents[2] / "docs" / "events"
PORT = "$(ls /dev/vport*)"


@dataclass
class Seen:
    """What came of the scenario. at: Unix ns of the agent's clock at which something was done."""

    folder: Path
    heard: Path
    bundle: Path
    trust: Path
    log: str = ""
    status: int | None = None
    at: dict[str, int] = field(default_factory=dict)
    count: dict[str, int] = field(default_factory=dict)
    """How many windows there were then: the clock goes back and forth."""

    def windows(self) -> list[dict[str, Any]]:
        return [event["data"] for event in events(self.heard, "/window")]

    def after(self, what: str) -> list[dict[str, Any]]:
        """Windows that began after something was done."""
        return [window for window in self.windows()[self.count[what] :] if window["start_wall_ns"] > self.at[what]]

    def perfs(self) -> list[dict[str, Any]]:
        return [event["data"] for event in events(self.heard, "/perf")]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, signing_key: Path, schema: FeatureSchema) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("watch")
    bundle = make_bundle(folder, schema, signing_key, 3)  # it sees an infection everywhere: the alarm rises
    found = Seen(folder, folder / "heard.txt", bundle, signing_key.parent)
    clock = Clock(folder)
    with Lab(folder) as lab:
        lab.add_tap()
        lab.sink()
        broker = lab.broker()
        heard = lab.subscribe(session="watcher")
        until(heard.exists, 60, "subscriber")
        exporter = lab.exporter()
        file = config(folder, bundle, signing_key.parent)
        agent = lab.agent(file, "--tee", str(folder / "store"), env=clock.env)
        try:
            _scenario(lab, agent, clock, found, broker, exporter, file)
        finally:
            if agent.process.poll() is None:
                agent.stop()
            found.log = agent.log
        until(lambda: b"stopped" in heard.read_bytes(), 60, "stopped")
        yield found


def _scenario(lab: Lab, agent: Agent, clock: Clock, seen: Seen, broker: Any, exporter: Any, file: Path) -> None:
    offset = 0.0

    def did(what: str) -> None:
        seen.at[what] = time.time_ns() + int(offset * 1e9)
        seen.count[what] = len(seen.windows())

    def whole(what: str) -> None:
        """A window since then in which all of this was wholly observed."""
        sources = ("proc", "qmp", "guest")
        until(
            lambda: any(all(w["observed"][s] == 1 for s in sources) for w in seen.after(what)),
            60,
            f"window with {sources} after {what}",
        )

    agent.says("g1 qmp: ")
    guest = Guest(lab, cpus=2)
    agent.says("g1 proc: up")
    guest.wait_up()
    guest.shell(TRAFFIC)
    guest.shell("(while :; do dd if=/dev/zero of=/dev/vda bs=64k count=4; sleep 1; done) >/dev/null 2>&1 &")
    did("up")
    whole("up")

    guest.qmp("stop")
    agent.says("QEMU says STOP")
    guest.qmp("cont")
    agent.says("QEMU says RESUME")

    lab.ip("link", "set", "tap0", "down")
    lab.ip("link", "set", "tap0", "name", "tap9")
    lab.ip("link", "set", "tap9", "up")

    end(broker)
    agent.says("connection lost")
    lab.broker()
    agent.says("connected", count=2)

    clock.set(offset := 3600.0)
    did("forward")
    whole("forward")
    clock.set(offset := 0.0)
    did("back")
    whole("back")

    guest.shell("killall feed")
    guest.shell(f"(while :; do cat /proc/interrupts; done) > {PORT} 2>/dev/null & sleep 3; kill $!")
    guest.shell(f"dd if=/dev/zero bs=1k count=1000 2>/dev/null | tr '\\000' x > {PORT}; sleep 1")
    did("flooded")

    end(exporter)
    lab.exporter(tap="tap9", version=9)  # other templates, and another clock
    guest.qmp("system_reset")
    agent.says("QEMU says RESET")
    guest.wait_up()
    guest.shell(TRAFFIC)
    did("reset")
    whole("reset")

    guest.kill()
    agent.says("g1 proc: process")
    did("killed")
    agent.process.send_signal(signal.SIGHUP)
    agent.says("another configuration")
    good = file.read_text()
    file.write_text(good.replace("qmp =", "qmpp ="))
    agent.process.send_signal(signal.SIGHUP)
    agent.says("did you mean `qmp`?")
    file.write_text(good)
    until(lambda: any(w["observed"]["proc"] == 0 for w in seen.after("killed")), 60, "window without the guest")
    guest = Guest(lab, tap="tap9", feed="sh")  # the busybox script, this time
    guest.wait_up()
    did("again")
    whole("again")
    guest.qmp("system_powerdown")
    agent.says("QEMU says POWERDOWN")
    guest.qmp("quit")
    agent.says("QEMU says SHUTDOWN")
    seen.status = agent.stop()


def test_a_guest_is_watched_from_boot_to_shutdown_and_six_kinds_of_event_fit_their_schemas(seen: Seen) -> None:
    assert seen.status == 0, seen.log
    kinds: Counter[str] = Counter()
    for line in seen.heard.read_bytes().splitlines():
        topic, _, payload = line.partition(b" ")
        level = topic.decode().rpartition("/")[2]
        if level == "session":  # no event
            continue
        kinds[level] += 1
        if level != "availability":
            jsonschema.validate(json.loads(payload), json.loads((SCHEMAS / f"{level}.schema.json").read_text()))
    assert set(kinds) == {"episode", "window", "metrics", "confusion", "perf", "profiles", "availability"}
    assert "Traceback" not in seen.log
    started, ended = (event["data"] for event in events(seen.heard, "/episode"))
    assert (started["state"], ended["state"], ended["mode"]) == ("started", "ended", "live")
    assert ended["windows"] == len(seen.windows())


def test_windows_come_every_five_seconds_and_the_loss_of_a_source_is_said(seen: Seen) -> None:
    ends = [window["end_wall_ns"] for window in seen.windows()]
    steps = Counter(b - a for a, b in itertools.pairwise(ends))
    assert steps[5 * SECOND] >= len(ends) - 4
    gone = [window for window in seen.after("killed") if window["end_wall_ns"] < seen.at["again"]]
    assert any(
        window["observed"]["proc"] == 0 and window["observed"]["qmp"] < 0.2 and "degraded" in window["flags"]
        for window in gone
    ), gone


def test_each_source_gives_rows_and_says_how_late_they_are(seen: Seen) -> None:
    sources = seen.perfs()[-1]["sources"]
    assert sources.keys() == {"proc", "qmp", "guest", "netflow"}
    assert {source for source, one in sources.items() if one["rows"] < 30} == set()
    assert all(
        perf["sources"][source]["lag_ms"]["p50"] < 1000
        for perf in seen.perfs()
        for source in ("proc", "qmp", "guest")
        if perf["sources"][source]["lag_ms"]["count"] > 10
    )
    events_of_qemu = sources["qmp"]["counts"]
    assert set(events_of_qemu) >= {"RESET", "STOP", "RESUME", "POWERDOWN", "SHUTDOWN"}


def test_the_guests_flows_arrive_by_a_real_exporter_also_after_it_was_restarted(seen: Seen) -> None:
    parts = sorted(path.parent for path in (seen.folder / "store").glob("*/*/episode.json"))
    rows = [row for path in parts for row in read_episode(path).rows["netflow"]]
    assert {"10.77.0.1", "10.77.0.2"} == {row.src for row in rows} | {row.dst for row in rows}  # type: ignore[union-attr] # they are flows
    assert max(row.recv_wall_ns for row in rows) > seen.at["reset"]  # type: ignore[union-attr] # they are flows


def test_a_guest_that_floods_costs_no_other_source_a_window(seen: Seen) -> None:
    counts = seen.perfs()[-1]["sources"]["guest"]["counts"]
    assert counts["garbage"] + counts.get("flooded", 0) > 10
    during = [window for window in seen.after("back") if window["end_wall_ns"] < seen.at["flooded"] + 3 * SECOND]
    assert during
    assert all(w["observed"]["proc"] == 1 for w in during)


def test_a_tap_that_is_renamed_is_followed(seen: Seen) -> None:
    notes = [perf["sources"]["proc"]["notes"] for perf in seen.perfs() if perf["sources"]]
    assert any("is called tap9 now" in note.get("tap", "") for note in notes)


def test_a_clock_that_is_set_is_said_and_windows_go_on_at_once(seen: Seen) -> None:
    told = [window["clock_set"] for window in seen.windows() if window["clock_set"]]
    assert [round(one["moved_ns"] / SECOND) for one in told] == [3600, -3600]
    assert any("clock_step" in window["flags"] for window in seen.windows())
    assert "the clock was set by +3600.0" in seen.log


def test_an_alarm_names_a_recording_of_what_was_seen_around_it(seen: Seen) -> None:
    named = [window for window in seen.windows() if window["evidence"]]
    assert named
    folder = seen.folder / "state" / "evidence" / "pi-1" / named[0]["evidence"]
    episode = read_episode(folder)
    assert episode.manifest.host["evidence"]["window_end_ns"] == named[0]["end_wall_ns"]
    first = min(row.t_wall_ns for rows in episode.rows.values() for row in rows)
    assert first < named[0]["start_wall_ns"]
    assert named[0]["alarm"]


def test_a_bad_configuration_at_reload_is_refused_and_the_old_one_stays(seen: Seen) -> None:
    (line,) = [line for line in seen.log.splitlines() if "the old configuration stays" in line]
    assert "edge.toml:" in line
    assert "unknown key `qmpp`" in line


def test_a_replay_of_what_was_recorded_gives_the_same_windows_byte_for_byte(
    seen: Seen, tmp_path: Path, schema: FeatureSchema
) -> None:
    """Through a lost source, a restarted guest, and a clock that was set forward and back."""
    live = _payloads(seen.heard)
    parts = sorted(path.parent for path in (seen.folder / "store").glob("*/*/episode.json"))
    moved = [part.moved_ns for path in parts if (part := watch_part(read_manifest(path), path)) is not None]
    assert [round(ns / SECOND) for ns in moved] == [0, 3600, -3600]
    (together,) = watches(parts)
    with opened(tmp_path / "outbox") as outbox:
        models = Fixed(activate(seen.bundle, schema, load_trusted_keys(seen.trust)))
        decider = Decider(models, schema, node="pi-1", outbox=outbox, health=Health())
        first, *more = map(read_episode, together)
        replay(decider, first, schema, None, more)
        again = [one.payload for one in outbox.pending(100_000) if one.topic.endswith("/window")]
    assert len(live) > 20
    assert again == live


def _payloads(heard: Path) -> list[bytes]:
    """Windows as they were published, once each: a broker that was away may be sent some again."""
    lines = (line.partition(b" ") for line in heard.read_bytes().splitlines())
    return list(dict.fromkeys(payload for topic, _, payload in lines if topic.endswith(b"/window")))
