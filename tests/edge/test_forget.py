"""`edge forget`: what a broker retains of guests and nodes that are gone is cleared, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from contracts.shell.broker import parse_broker
from edge.cli import main
from edge.deliver.line import Line
from edge.session.homeassistant import config_topic
from tests.brokers import Subscriber, mosquitto_with
from tests.live.lab import until

pytestmark = pytest.mark.system


def retain(url: str, *topics: str) -> None:
    line = Line(parse_broker(url), "filler", 5)
    assert line.call() is None
    mids = [line.publish(topic, b"online" if topic.endswith("y") else b"{}", retain=True) for topic in topics]
    assert line.wait(lambda: set(mids) <= line.answers.keys(), 60)
    line.close()


def retained(url: str, folder: Path) -> list[str]:
    subscriber = Subscriber(url, folder, "#")
    subscriber.close()
    return sorted(topic for _, topic, _ in subscriber.heard())


def test_a_guest_is_forgotten_and_its_neighbours_are_not(
    tmp_path: Path, mosquitto: str, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = ["phasewatch/n/g/metrics", "phasewatch/n/g/profiles", config_topic("n", "g", "homeassistant")]
    kept = ["phasewatch/n/availability", "phasewatch/n/g2/metrics", "phasewatch/n2/g/metrics",
            config_topic("n", "g2", "homeassistant")]  # fmt: skip
    retain(mosquitto, *gone, *kept)
    assert main(["forget", "n/g", "--broker", mosquitto, "--dry-run"]) == 0
    assert "3 topics would be cleared\n" in capsys.readouterr().out
    assert retained(mosquitto, tmp_path) == sorted(gone + kept)
    assert main(["forget", "n/g", "--broker", mosquitto]) == 0
    assert capsys.readouterr().out == "".join(f"{topic}\n" for topic in sorted(gone)) + "3 topics are cleared\n"
    assert retained(mosquitto, tmp_path) == sorted(kept)


def test_a_node_is_forgotten_unless_its_agent_is_online(
    tmp_path: Path, mosquitto: str, capsys: pytest.CaptureFixture[str]
) -> None:
    retain(mosquitto, "phasewatch/n/availability", "phasewatch/n/g/metrics", "phasewatch/n/session")
    assert main(["forget", "n", "--broker", mosquitto]) == 2
    assert "phasewatch/n: its agent is online; expected a node that is gone; stop it, or name a guest" in (
        capsys.readouterr().err
    )
    line = Line(parse_broker(mosquitto), "filler", 5)
    assert line.call() is None
    line.publish("phasewatch/n/availability", b"offline", retain=True)
    assert line.wait(lambda: bool(line.answers), 60)
    line.close()
    assert main(["forget", "n", "--broker", mosquitto]) == 0
    assert retained(mosquitto, tmp_path) == []


def test_what_the_brokers_rules_keep_from_being_cleared_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite #\n")
    with mosquitto_with(tmp_path, f"acl_file {rules}") as url:
        retain(url, "phasewatch/n/g/metrics")
        rules.write_text("topic read #\n")
        found = subprocess.run(["pgrep", "-f", f"mosquitto -c {tmp_path}/"], capture_output=True, text=True, check=True)
        os.kill(int(found.stdout.split()[0]), signal.SIGHUP)  # it reads its rules anew

        def refused() -> bool:
            return main(["forget", "n/g", "--broker", url]) == 1

        until(refused, 60, "refusal")
        assert (
            "1 topics are refused (phasewatch/n/g/metrics: Not authorized); expected to be let write; let this user"
            in (capsys.readouterr().err)
        )


@pytest.mark.parametrize("what", ["n/../g", "n/g/x", "+", "n/#", "", "/g"])
def test_what_is_no_node_or_guest_is_refused(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forget", what, "--broker", "mqtt://127.0.0.1:1"]) == 2
    assert "is neither a node nor node/guest; see edge forget --help" in capsys.readouterr().err
