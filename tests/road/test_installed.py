"""The road of a bundle on the edge, with real models, a real broker and nothing but commands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import Subscriber
from tests.conftest import Build
from tests.recordings import ONE, ORDERED

pytestmark = [pytest.mark.slow, pytest.mark.system]
OTHER = ORDERED / "lab-q35-2" / "lab-q35-2-bursty-c2-s03"


def test_a_bundle_is_installed_shadowed_replayed_promoted_and_rolled_back(
    built: Build, tmp_path: Path, mosquitto: str
) -> None:
    where = ["--state", str(tmp_path / "state"), "--trust", str(built.key.parent)]

    def edge(*arguments: object) -> str:
        command = [sys.executable, "-m", "edge.cli", *map(str, arguments), *where]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def current() -> tuple[str, bool]:
        found = json.loads(edge("status", "--json"))["current"]
        return found["name"].rpartition("-")[0], found["proven"]

    edge("install", built.bundle("gbt-realistic"))
    edge("install", built.bundle("cnn-oracle"), "--shadow")
    assert current() == ("gbt-realistic", False)

    subscriber = Subscriber(mosquitto, tmp_path)
    edge("replay", ONE, OTHER, "--broker", mosquitto, "--outbox", tmp_path / "outbox")
    subscriber.wait_for(2, "/availability")  # online, and stopped: the last that it says
    heard = [json.loads(payload) for _, topic, payload in subscriber.heard() if payload[:1] == b"{"]
    subscriber.close()

    def told(kind: str) -> list[dict[str, Any]]:
        return [one["data"] for one in heard if one["type"] == f"phasewatch.{kind}.v1"]

    windows = told("window")
    assert len(windows) > 40
    unlike = [window["decided"] != window["shadow"]["decided"] for window in windows]
    costs = told("perf")[-1]["shadow"]
    assert costs["windows"] == len(windows)
    assert costs["disagreement"]["value"] == pytest.approx(sum(unlike) / len(unlike))
    assert costs["disagreement"]["low"] <= costs["disagreement"]["value"] <= costs["disagreement"]["high"]
    assert costs["inference_ms"]["p50"] > 0
    score = [metrics for metrics in told("metrics") if metrics["basis"] == "running"][-1]
    assert score["shadow"]["bundle"]["name"].startswith("cnn-oracle-")
    assert score["shadow"]["difference"]["value"] == pytest.approx(
        score["shadow"]["macro_f1"]["value"] - score["macro_f1"]["value"]
    )
    assert current() == ("gbt-realistic", True)

    edge("promote")
    assert current() == ("cnn-oracle", False)
    edge("rollback")
    assert current() == ("gbt-realistic", True)
    edge("self-test")
