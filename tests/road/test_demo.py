"""`make demo`, with the recordings and the models of the test build."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.brokers import program
from tests.conftest import Build

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(built: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo folder whose models are built already, so that each demo only replays: tests/pythons sees one train."""
    import shutil

    folder = tmp_path_factory.mktemp("demo") / "out"
    shutil.copytree(built.out, folder)
    (folder / "keys").mkdir()
    for suffix in (".key", ".pub"):
        shutil.copy(built.key.with_suffix(suffix), folder / "keys" / f"demo{suffix}")
    return folder


@pytest.mark.parametrize("broker", ["amqtt", pytest.param("mosquitto", marks=pytest.mark.system)])
def test_demo_shows_the_six_kinds_and_ends_with_status_0(built: Build, folder: Path, broker: str) -> None:
    command = [sys.executable, "-m", "trainer.demo", "--store", str(built.store), "--out", str(folder)]
    command += ["--speed", "max", "--again"]
    if broker == "mosquitto":
        command += ["--mosquitto", str(program("mosquitto"))]
    env = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "\x1b" not in done.stdout
    with contextlib.closing(sqlite3.connect(folder / "dashboard.sqlite")) as history:  # and the pages filled
        assert history.execute("SELECT count(*) FROM windows").fetchone()[0] > 50
        assert {kind for (kind,) in history.execute("SELECT kind FROM latest")} == {"metrics", "confusion", "profiles"}
    for words in (
        r"metrics   scorecard \(by the trainer\): macro F1 [01]\.\d{3} \[[01]\.\d{3}, [01]\.\d{3}\]",
        r"confusion scorecard \(by the trainer\): truth down, decided across",
        r"profiles  scorecard .*; never tested: low-and-slow, scan-and-dial",
        r"episode   corpus-1-\d{4}: \S+ on arm-1, watched by [a-z]+-realistic-\w+ \(\S+( \S+)?, signed by demo\)",
        r"window    \d\d:\d\d:\d\d  \S+ +#+\.* \d\.\d\d   truth infecting +(ok|MISSED)",
        r"perf      extraction \d+\.\d\d ms, inference \d+\.\d\d ms",
        r"the agent was (stopped -> )?online -> stopped",
        r"  \d+ repeated under their id",
        r"  on pages too: http:\S+:\d+/",
        r"bundles, best first: \S+/index\.json",
    ):
        assert re.search(words, done.stdout), words


def test_demo_says_in_one_line_when_nothing_was_trained_before(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trainer.demo", "--again", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    found = f"demo: --again: nothing in {tmp_path / 'out'}; expected what a demo left; leave --again out\n"
    assert done.stderr == found
    assert not (tmp_path / "out").exists()


def test_demo_says_in_one_line_when_there_is_nothing_to_train_on(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    command = [sys.executable, "-m", "trainer.demo", "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "an empty store" in done.stderr
    assert "demo: demo: the build ended with status 2; expected 0; see above" in done.stderr
