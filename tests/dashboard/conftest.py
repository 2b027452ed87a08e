"""A real broker, `edge dashboard` as a process, a real replay, and the system's Chromium."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from contracts.features.schema import FeatureSchema
from tests.brokers import free_port, mosquitto_on, program
from tests.bundles import make_bundle
from tests.live.lab import until
from tests.recordings import ONE, ORDERED

Start = Callable[..., "Served"]
expect.set_options(timeout=30_000)  # ms; a busy machine has stood still for many seconds


class Served:
    """`edge dashboard`, and its address."""

    def __init__(self, folder: Path, url: str, *options: str) -> None:
        command = [sys.executable, "-m", "edge.cli", "dashboard", "--broker", url, "--history", str(folder / "history")]
        if "--listen" not in options:
            command += ["--listen", "127.0.0.1:0"]
        self.log = (folder / "dashboard.log").open("ab")
        self.process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=self.log, text=True)
        assert self.process.stdout is not None
        found = re.fullmatch(r"dashboard: (\S+)/\n", self.process.stdout.readline())
        assert found, (folder / "dashboard.log").read_text()
        self.address = found[1]
        until(lambda: "listening to" in (folder / "dashboard.log").read_text(), 60, "ear")

    @property
    def port(self) -> str:
        return self.address.rpartition(":")[2]

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(20)
        self.log.close()
        return status


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts dashboards, which end with the test."""
    running: list[Served] = []

    def start_one(url: str, *options: str) -> Served:
        running.append(Served(tmp_path, url, *options))
        return running[-1]

    yield start_one
    for one in running:
        with contextlib.suppress(ProcessLookupError):
            one.stop()


@pytest.fixture(scope="module")  # while it lasts an event loop runs in this thread, which others would trip over
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(program("chromium")), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """One that fails its test for any error of its script."""
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert errors == []


@pytest.fixture(scope="session")
def replayed(
    tmp_path_factory: pytest.TempPathFactory, schema: FeatureSchema, signing_key: Path
) -> Callable[[str], None]:
    """Replays two recordings to a broker."""
    folder = tmp_path_factory.mktemp("replayed")
    bundle = make_bundle(folder, schema, signing_key, 0)

    def replay(url: str) -> None:
        command = [
            sys.executable,
            "-m",
            "edge.cli",
            "replay",
            str(ONE),
            str(ORDERED / "lab-q35-2" / "lab-q35-2-bursty-c2-s03"),
        ]
        command += ["--bundle", str(bundle), "--trust", str(signing_key.parent), "--broker", url, "--node", "pi-1"]
        done = subprocess.run([*command, "--outbox", str(folder / "o")], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    return replay


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory, replayed: Callable[[str], None]) -> Iterator[Served]:
    """A dashboard that has seen a replay and a live guest, for tests that only look."""
    from tests.dashboard.sent import live_guest

    folder = tmp_path_factory.mktemp("filled")
    with mosquitto_on(free_port(), folder) as url:
        served = Served(folder, url)
        replayed(url)
        with live_guest(url, folder, "pi-2", "camera-1", 40):
            yield served
        served.stop()
