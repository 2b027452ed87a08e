"""A guest that its owner runs, recorded and marked by hand: real QEMU, exporter, broker; and docs/recording.md."""

from __future__ import annotations

import datetime
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from contracts.telemetry.episode import read_episode
from tests.brokers import program
from tests.live.lab import ROOT, Guest, Lab, config, image, until
from tests.live.test_docs import _read
from trainer.sweep.examine import examine

pytestmark = [pytest.mark.slow, pytest.mark.system]


class Recorder:
    """`edge record` in a lab, and `edge mark` beside it."""

    def __init__(self, lab: Lab, file: Path, store: Path, *options: str) -> None:
        self._lab, self._config, self._log = lab, file, lab.folder / "record.log"
        self._log.unlink(missing_ok=True)
        command = [sys.executable, "-m", "edge.cli", "record", "--config", str(file), "--out", str(store), *options]
        self.process = lab.start(*command, log="record.log")

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def says(self, text: str, seconds: float = 60) -> None:
        until(lambda: text in self.log or self.process.poll() is not None, seconds, text)
        assert text in self.log, self.log

    def mark(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [
            *self._lab.inside,
            sys.executable,
            "-m",
            "edge.cli",
            "mark",
            *arguments,
            "--config",
            str(self._config),
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def publish(lab: Lab, payload: object, *options: str) -> None:
    command = [str(program("mosquitto_pub")), "-h", "127.0.0.1", "-t", "phasewatch/pi-1/g1/mark", "-q", "1", *options]
    text = payload if isinstance(payload, str) else json.dumps(payload)
    subprocess.run([*lab.inside, *command, "-m", text], check=True)


def test_a_guest_of_ones_own_is_recorded_and_marked(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with Lab(tmp_path) as lab:
        lab.add_tap()
        lab.sink()
        lab.broker()
        file = config(tmp_path, tmp_path / "no.bundle", tmp_path)
        publish(lab, {"phase": "dormant"}, "-r")  # of another time
        recorder = Recorder(lab, file, store, "--mqtt", "--profile", "own", "--sample", "try-1")
        recorder.says("waiting: ")  # no guest yet
        refused = recorder.mark("armed")
        assert refused.returncode == 2
        assert "nobody records g1" in refused.stderr
        guest = Guest(lab)
        guest.wait_up()
        recorder.says("it is clean now", 90)
        lab.exporter()
        guest.shell("(while :; do wget -q -O /dev/null http://10.77.0.1:8080/; sleep 1; done) >/dev/null 2>&1 &")
        time.sleep(12)  # a window's length

        assert "g1: armed since" in recorder.mark("armed").stdout
        time.sleep(2)
        half = datetime.timedelta(seconds=0.5)
        late = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=1)
        assert recorder.mark("infecting", "--at", late.isoformat()).returncode == 0
        for arguments, why in (
            (("clean", "--ago", "600"), r"clean \d+\.\d+ s before the (episode|mark of infecting)"),
            (
                ("clean", "--at", (late - half).isoformat()),
                r"clean \d+\.\d+ s before the mark of infecting; expected marks in order of time",
            ),
            (("clean", "--at", "2099-01-01T00:00:00Z"), r"clean \d+\.\d+ s from now; expected a moment that has come"),
            (("clean", "--at", "soon"), r"time 'soon'; expected ISO 8601"),
        ):
            said = recorder.mark(*arguments)
            assert said.returncode == 2
            assert re.search(why, said.stderr), said.stderr
            assert said.stderr.count("\n") == 1
        publish(lab, {"phase": "infected_running"})
        recorder.says("g1: infected_running since")
        publish(lab, {"phase": "asleep"})
        publish(lab, "no JSON")
        until(lambda: recorder.log.count("a mark by MQTT is refused") == 2, 60, "two refusals")
        assert "a retained mark is ignored" in recorder.log
        other = subprocess.run(
            [*lab.inside, sys.executable, "-m", "edge.cli", "record", "--config", str(file), "--out", str(store)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert other.returncode == 2, "two recorders of one guest"
        assert "another process works here" in other.stderr
        assert recorder.end() == 0

        (folder,) = store.glob("pi-1/g1-*")
        episode = read_episode(folder)
        assert [label.phase for label in episode.labels] == ["clean", "armed", "infecting", "infected_running"]
        assert abs(episode.labels[2].t_wall_ns / 1e9 - late.timestamp()) < 0.001
        assert (episode.manifest.profile, episode.manifest.sample_name) == ("own", "try-1")
        assert episode.manifest.host["sampling"]["proc"]["late_ms"]["p50"] >= 0
        finding = examine(folder)
        assert finding.verdict in ("accepted", "degraded")
        assert {reason.source for reason in finding.reasons} <= {"guest"}, finding.reasons  # a busy machine holds it up

        crashed = Recorder(lab, file, store)
        crashed.says("it is clean now")
        time.sleep(7)
        crashed.end(signal.SIGKILL)
        (left,) = (path.parent for path in store.glob("*/*/recording.json"))
        assert [reason.code for reason in examine(left).reasons] == ["unfinished"]
        again = Recorder(lab, file, store, "--minutes", "0.2", "--phase", "dormant")  # the dead one is in nobody's way
        assert again.process.wait(60) == 0
        assert len(list(store.glob("pi-1/*/episode.json"))) == 2


def test_the_page_leads_from_a_running_qemu_to_a_labelled_episode(tmp_path: Path) -> None:
    place = tmp_path / "clone"
    (place / "build").mkdir(parents=True)
    (place / "build" / "guest").symlink_to(image())
    (place / "firmware-config").symlink_to(ROOT / "firmware-config")
    text = (ROOT / "docs" / "recording.md").read_text()
    script = "\n".join(["set -e", *re.findall(r"```sh\n(.*?)```", text, re.DOTALL)])
    env: dict[str, Any] = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin",
    }
    with Lab(tmp_path) as lab:
        shell = subprocess.Popen(
            [*lab.inside, "sh", "-c", script], cwd=place, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        )  # fmt: skip
        said = ""
        try:
            said = _read(shell)
        finally:
            os.killpg(shell.pid, signal.SIGKILL)  # what the page starts in the background is its reader's to end
    assert said.count("│ all ") == 2, said
    assert len(re.findall(r"^\s+[\d.]+=infecting", said, re.MULTILINE)) == 2, said
    assert "13.500=armed" in said
    assert "corpus-1-0002" in said
    (folder,) = (place / "run" / "recordings" / "pi-1").iterdir()
    assert examine(folder).verdict in ("accepted", "degraded")
