"""What a broker, a network and a machine can do to delivery, done for real; an audit proves what came of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contracts.shell.broker import parse_broker
from edge.audit.ear import Ear
from edge.audit.streams import Auditor, Report
from edge.deliver import drain as drain_room
from edge.deliver.outbox import opened
from edge.session.delivery import Delivery
from tests.brokers import Subscriber, free_port, mosquitto_on, mosquitto_with, program
from tests.edge.sending import put_windows
from tests.live.lab import until

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
DAY = 17_280
"""Windows of one guest."""
SEND = [sys.executable, "-m", "tests.edge.sending"]
AUDIT = [sys.executable, "-m", "edge.cli", "audit", "--broker"]


class Audit:
    """`edge audit`'s own parts, in a thread."""

    def __init__(self, url: str) -> None:
        self.auditor = Auditor()
        self._ear = Ear(parse_broker(url), ["phasewatch/+/+/+"], lambda _: None)
        self._ear.connect()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while not self._stop.is_set():
            for heard in self._ear.listen(0.1):
                list(self.auditor.hear(heard.topic, heard.payload, retained=heard.retained))

    def vanish(self) -> None:
        """Its connection is gone, and it comes back."""
        line = self._ear._line
        assert line is not None
        line.cut("gone")

    def report(self, events: int, seconds: float = 60) -> Report:
        """Once so many different events have come."""

        def came() -> bool:
            report = self.auditor.report()
            return report.events - report.repeats >= events

        until(came, seconds, f"{events} events")
        return self.auditor.report()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(60)
        self._ear.close()


@contextlib.contextmanager
def auditing(url: str) -> Iterator[Audit]:
    audit = Audit(url)
    try:
        yield audit
    finally:
        audit.close()


def sending(outbox: Path, url: str, first: int, count: int, *options: str) -> subprocess.Popen[str]:
    command = [*SEND, str(outbox), url, str(first), str(count), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_days_outage_is_drained_whole_by_an_agent_that_is_killed_three_times(tmp_path: Path) -> None:
    port = free_port()
    with opened(tmp_path / "o") as outbox:
        outbox._db.execute("PRAGMA synchronous = OFF")  # for the test's own speed
        put_windows(outbox, 0, DAY)  # nobody is there
        assert outbox.depth == DAY
    with mosquitto_on(port, tmp_path) as url:
        command = [*AUDIT, url, "--idle", "12"]
        audit = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert audit.stderr is not None
        assert "listening" in audit.stderr.readline()
        for _ in range(3):
            agent = sending(tmp_path / "o", url, DAY, 1)
            assert said(agent) == "put\n"
            time.sleep(0.1)  # in the middle
            agent.kill()
            agent.wait()
        last = sending(tmp_path / "o", url, DAY, 1)
        assert last.communicate(timeout=120)[0] == "put\ndrained\n"
        out, _ = audit.communicate(timeout=60)
    report = json.loads(out)
    assert audit.returncode == 0, report
    assert (report["whole"], report["missing"], report["told"], report["violations"]) == (True, 0, 0, 0)
    assert report["streams"]["/phasewatch/n/g"]["last"] >= DAY + 1
    assert report["events"] - report["repeats"] == report["streams"]["/phasewatch/n/g"]["last"]


@pytest.mark.parametrize("persistence", [True, False])
def test_a_broker_killed_in_mid_burst_loses_nothing_that_it_had_not_acknowledged(
    tmp_path: Path, persistence: bool
) -> None:
    port, count = free_port(), 6000
    settings = tmp_path / "broker.conf"
    stored = f"persistence true\npersistence_location {tmp_path}/\nautosave_interval 1\n" if persistence else ""
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nmax_queued_messages 0\n{stored}")

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([str(program("mosquitto")), "-c", str(settings)], stderr=subprocess.DEVNULL)

    broker = start()
    with opened(tmp_path / "o") as outbox:
        outbox._db.execute("PRAGMA synchronous = OFF")  # for the test's own speed
        put_windows(outbox, 0, count)
        until(lambda: _listens(port), 60, "broker")
        delivery = Delivery(outbox, parse_broker(f"mqtt://127.0.0.1:{port}"), "n", lambda _: None)
        with auditing(f"mqtt://127.0.0.1:{port}") as audit:
            until(lambda: audit.auditor.report().events > 500, 60, "burst")
            broker.kill()
            broker.wait()
            time.sleep(0.5)
            broker = start()
            assert delivery.wait_empty(60)
            more = 0
            while (
                audit.auditor.report().streams["/phasewatch/n/g"].last <= count
            ):  # it calls again at a moment of its own
                put_windows(outbox, count + more, 1)
                more += 1
                assert more < 120
                time.sleep(0.5)
            report = audit.auditor.report()
            assert report.violations == report.clashes == 0
            # what it had acknowledged and not passed on is the broker's own loss, and the audit counts it
            last = report.streams["/phasewatch/n/g"].last
            assert report.missing == last - (report.events - report.repeats)
        delivery.hang_up()
    broker.terminate()
    broker.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
        return True
    return False


def test_a_broker_that_is_stopped_is_noticed_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_room, "ANSWER_S", 1.0)
    port = free_port()
    with mosquitto_on(port, tmp_path) as url, opened(tmp_path / "o") as outbox, auditing(url) as audit:
        delivery = Delivery(outbox, parse_broker(url), "n", lambda _: None)
        put_windows(outbox, 0, 50)
        assert delivery.wait_empty(60)
        broker = _pid_of(tmp_path)
        os.kill(broker, signal.SIGSTOP)
        try:
            put_windows(outbox, 50, 50)
            until(lambda: "acknowledges nothing for 1 s" in delivery.state, 60, "word of it")
            assert outbox.depth == 50
        finally:
            os.kill(broker, signal.SIGCONT)
        assert delivery.wait_empty(60)
        report = audit.report(100)
        assert (report.whole, report.missing) == (True, 0)
        delivery.hang_up()


def _pid_of(folder: Path) -> int:
    """Of the mosquitto whose configuration lies there."""
    found = subprocess.run(["pgrep", "-f", f"mosquitto -c {folder}/"], capture_output=True, text=True, check=True)
    return int(found.stdout.split()[0])


def test_an_agent_that_is_stopped_and_goes_on_is_offline_meanwhile_and_loses_nothing(tmp_path: Path) -> None:
    with mosquitto_on(free_port(), tmp_path) as url, auditing(url) as audit:
        watcher = Subscriber(url, tmp_path)
        agent = sending(tmp_path / "o", url, 0, 60, "--keep-alive", "1", "--pause", "0.02")
        until(lambda: audit.auditor.report().events > 5, 60, "events")
        agent.send_signal(signal.SIGSTOP)
        try:
            watcher.wait_for(2, "/availability")
        finally:
            agent.send_signal(signal.SIGCONT)
        assert agent.communicate(timeout=60)[0] == "put\ndrained\n"
        report = audit.report(60)
        assert (report.whole, report.missing) == (True, 0)
        said = watcher.wait_for(4, "/availability")
        assert said[:2] == [b"online", b"offline"]
        assert said[-2:] == [b"online", b"stopped"]
        watcher.close()


class Network:
    """Two hosts in network namespaces of this test's own, joined by a wire."""

    def __init__(self) -> None:
        self._names = [f"pw-{side}-{os.getpid()}" for side in "ab"]

    def __enter__(self) -> Network:
        a, b = self._names
        for name in self._names:
            self._ip("netns", "add", name)
        self._ip("link", "add", "wire", "netns", a, "type", "veth", "peer", "name", "wire", "netns", b)
        for i, name in enumerate(self._names, start=1):
            self._ip("-n", name, "address", "add", f"10.99.0.{i}/24", "dev", "wire")
            self._ip("-n", name, "link", "set", "wire", "up")
            self._ip("-n", name, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._names:
            self._ip("netns", "delete", name)

    def inside(self, side: int, *command: str) -> list[str]:
        return [str(program("ip")), "netns", "exec", self._names[side], *command]

    def swallow(self, *, swallows: bool) -> None:
        """Packets to the other side go to a card that is not there, without a word to anybody."""
        for side, other in ((0, 2), (1, 1)):
            name = self._names[side]
            if swallows:
                self._ip("-n", name, "neigh", "replace", f"10.99.0.{other}", "lladdr", "02:00:00:00:00:99",
                         "nud", "permanent", "dev", "wire")  # fmt: skip
            else:
                self._ip("-n", name, "neigh", "del", f"10.99.0.{other}", "dev", "wire")

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run([str(program("ip")), *arguments], check=True, capture_output=True)


def test_a_half_open_connection_is_given_up_and_nothing_is_lost(tmp_path: Path) -> None:
    settings = tmp_path / "m.conf"
    settings.write_text(f"listener 1883 10.99.0.2\nallow_anonymous true\nuser root\nlog_dest file {tmp_path}/log\n")
    with Network() as network:
        broker = subprocess.Popen(network.inside(1, str(program("mosquitto")), "-c", str(settings)))
        heard = (tmp_path / "heard").open("wb")
        ear = subprocess.Popen(
            network.inside(1, *AUDIT, "mqtt://10.99.0.2"),
            stdout=heard, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert ear.stderr is not None
        assert "listening" in ear.stderr.readline()
        agent = subprocess.Popen(
            network.inside(
                0, *SEND, str(tmp_path / "o"), "mqtt://10.99.0.2", "0", "150", "--keep-alive", "1", "--pause", "0.05"
            ),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        time.sleep(2.5)
        network.swallow(swallows=True)
        time.sleep(4)
        network.swallow(swallows=False)
        out, log = agent.communicate(timeout=60)
        assert out == "put\ndrained\n"
        assert "connection lost (Keep alive timeout)" in log
        ear.send_signal(signal.SIGTERM)
        ear.wait(60)
        broker.terminate()
        broker.wait()
        heard.close()
    report = json.loads((tmp_path / "heard").read_bytes())
    assert (report["whole"], report["missing"], report["events"] - report["repeats"]) == (True, 0, 150)


def test_what_a_broker_dropped_for_an_absent_subscriber_is_found_by_the_audit(tmp_path: Path) -> None:
    """As happened with `max_queued_messages`: 999 of 5,000 came, and nobody noticed."""
    settings = "max_queued_messages 100"
    with mosquitto_with(tmp_path, settings) as url, opened(tmp_path / "o") as outbox, auditing(url) as audit:
        delivery = Delivery(outbox, parse_broker(url), "n", lambda _: None)
        put_windows(outbox, 0, 10)
        audit.report(10)
        _away(audit, lambda: put_windows(outbox, 10, 500), delivery.wait_empty)
        audit.report(110)  # it is back
        put_windows(outbox, 510, 1)
        until(lambda: audit.auditor.report().streams["/phasewatch/n/g"].last == 511, 60, "the last")
        report = audit.auditor.report()
        assert not report.whole
        assert report.missing == 511 - (report.events - report.repeats)
        assert 300 < report.missing < 500
        delivery.hang_up()


def _away(audit: Audit, act: Callable[[], None], wait: Callable[[float], bool]) -> None:
    """While the subscriber is away, its session is not."""
    audit._stop.set()
    audit._thread.join(60)
    audit.vanish()
    act()
    assert wait(60)
    audit._stop.clear()
    audit._thread = threading.Thread(target=audit._listen)
    audit._thread.start()


def test_a_slow_subscriber_holds_nobody_up_and_gets_all(tmp_path: Path) -> None:
    with mosquitto_on(free_port(), tmp_path) as url, opened(tmp_path / "o") as outbox:
        slow = Subscriber(url, tmp_path)
        delivery = Delivery(outbox, parse_broker(url), "n", lambda _: None)
        put_windows(outbox, 0, 5)
        slow.wait_for(5, "/window")
        os.kill(slow._process.pid, signal.SIGSTOP)
        put_windows(outbox, 5, 2000)
        assert delivery.wait_empty(60)
        os.kill(slow._process.pid, signal.SIGCONT)
        assert len(slow.wait_for(2005, "/window")) == 2005
        slow.close()
        delivery.hang_up()
