"""`firmware-config/mosquitto` and `docs/mqtt.md`, as they are: the commands, the rules of each user, the bridge."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.shell.broker import Broker, parse_broker
from edge.deliver.line import Line
from edge.deliver.outbox import opened
from edge.deliver.probe import probe
from edge.session.delivery import Delivery
from tests.brokers import PATH, free_port, mosquitto_on, program, wait_for_port
from tests.edge.sending import put_windows
from tests.edge.test_faults import auditing

pytestmark = pytest.mark.system
ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "firmware-config" / "mosquitto"


def commands() -> str:
    """The first block of the page."""
    return str(re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "mqtt.md").read_text(), re.DOTALL)[0])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[int]:
    """A mosquitto set up as the page says; its port for TLS."""
    env = {"PATH": PATH, "HOST": "localhost", "AGENT_PASSWORD": "agent-1", "READER_PASSWORD": "reader-1"}
    subprocess.run(["sh", "-eu", "-c", commands()], cwd=tmp_path, check=True, env=env, capture_output=True)
    pki, port, plain = tmp_path / "pki", free_port(), free_port()
    subprocess.run([str(program("mosquitto_passwd")), "-b", str(pki / "passwords"), "keeper", "keeper-1"], check=True)
    (pki / "acl").write_text((CONFIG / "acl").read_text())
    (pki / "acl").chmod(0o600)
    said = (CONFIG / "phasewatch.conf").read_text()
    said = said.replace("/etc/mosquitto/certs", str(pki)).replace("/etc/mosquitto", str(pki))
    said = said.replace("listener 8883", f"listener {port}").replace("listener 1883", f"listener {plain}")
    (tmp_path / "broker.conf").write_text(f"{said}\nuser root\n")
    with _running(tmp_path / "broker.conf", port):
        yield port


@contextlib.contextmanager
def _running(settings: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([str(program("mosquitto")), "-c", str(settings)], stderr=subprocess.DEVNULL) as one:
        try:
            wait_for_port(port)
            yield one
        finally:
            one.terminate()


def broker(site: int, folder: Path, user: str, password: str) -> Broker:
    (folder / f"{user}.password").write_text(password)
    return parse_broker(
        f"mqtts://{user}@localhost:{site}", ca_file=folder / "pki" / "ca.pem", password_file=folder / f"{user}.password"
    )


def test_an_agent_speaks_for_its_own_node_alone_and_a_dashboard_only_reads(site: int, tmp_path: Path) -> None:
    agent, dashboard = broker(site, tmp_path, "pi-1", "agent-1"), broker(site, tmp_path, "dashboard", "reader-1")
    assert [one.remedy for one in probe(agent)] == [""] * 4
    reader = Line(dashboard, "dashboard", 5)
    assert reader.call() is None
    reader.subscribe(["phasewatch/+/+/+"])
    assert reader.wait(lambda: reader.granted, 60)
    with opened(tmp_path / "o") as outbox:
        put_windows(outbox, 0, 3, node="pi-1")
        put_windows(outbox, 0, 2, node="pi-2")  # of which it may not speak
        delivery = Delivery(outbox, agent, "pi-1", lambda _: None)
        assert delivery.wait_empty(60)
        delivery.hang_up()
        aside = [(one.topic, one.why) for one in outbox.aside()]  # the notice of the gap too
        assert aside == [(f"phasewatch/pi-2/g/{kind}", "Not authorized") for kind in ("window", "window", "gap")]
    assert reader.wait(lambda: len(reader.heard) >= 3, 60)
    topics = [one.topic for one in reader.heard]
    assert topics == ["phasewatch/pi-1/g/window"] * 3
    mid = reader.publish("phasewatch/pi-1/g/window", b"forged")
    assert reader.wait(lambda: mid in reader.answers, 60)
    assert reader.answers[mid] == "Not authorized"
    reader.close()
    keeper = Line(broker(site, tmp_path, "keeper", "keeper-1"), "keeper", 5)
    assert keeper.call() is None
    mid = keeper.publish("phasewatch/pi-1/availability", b"", retain=True)
    assert keeper.wait(lambda: mid in keeper.answers, 60)
    assert keeper.answers[mid] is None
    keeper.close()


def test_nobody_gets_in_without_a_name(site: int, tmp_path: Path) -> None:
    anonymous = parse_broker(f"mqtts://localhost:{site}", ca_file=tmp_path / "pki" / "ca.pem")
    assert list(probe(anonymous))[-1].found == "refused: Not authorized"
    wrong = broker(site, tmp_path, "pi-1", "guessed")
    assert list(probe(wrong))[-1].found == "refused: Not authorized"


def test_the_key_and_the_passwords_are_nobody_elses(site: int, tmp_path: Path) -> None:
    assert "agent-1" not in (tmp_path / "pki" / "passwords").read_text()
    assert (tmp_path / "pki" / "broker.key").stat().st_mode & 0o077 == 0
    assert site


def test_a_bridge_brings_everything_to_the_centre_through_an_outage_of_it(tmp_path: Path) -> None:
    centre, site = free_port(), free_port()
    said = (CONFIG / "bridge.conf").read_text()
    said = re.sub(r"^(bridge_cafile|remote_username|remote_password) .*\n", "", said, flags=re.MULTILINE)
    said = said.replace("central.example:8883", f"127.0.0.1:{centre}").replace(
        "restart_timeout 1 60", "restart_timeout 1 2"
    )
    (tmp_path / "site.conf").write_text(
        f"listener {site} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 100000\nuser root\n{said}"
    )
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with _running(tmp_path / "site.conf", site), opened(tmp_path / "o") as outbox:
        delivery = Delivery(outbox, parse_broker(f"mqtt://127.0.0.1:{site}"), "n", lambda _: None)
        put_windows(outbox, 0, 300)
        assert delivery.wait_empty(60)  # the centre is not there yet
        with mosquitto_on(centre, tmp_path / "one") as url, auditing(url) as audit:
            report = audit.report(300)
            assert (report.whole, report.streams["/phasewatch/n/g"].first) == (True, 1)
            put_windows(outbox, 300, 100)
            assert audit.report(400).whole
        put_windows(outbox, 400, 300)  # it is away
        assert delivery.wait_empty(60)
        time.sleep(0.2)
        with mosquitto_on(centre, tmp_path / "two") as url, auditing(url) as audit:
            report = audit.report(300)
            assert (report.whole, report.streams["/phasewatch/n/g"].last) == (True, 700)
        delivery.hang_up()
