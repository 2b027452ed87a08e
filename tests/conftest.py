"""What many tests share: one schema, one recording, one real build."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from contracts.bundle.keys import TrustedKeys, generate_key, load_trusted_keys
from contracts.features.schema import FeatureSchema, feature_schema
from contracts.files import locked
from contracts.telemetry.episode import Episode, read_episode
from tests.brokers import free_port, mosquitto_on
from tests.recordings import ONE, copy_of, few

TESTS = Path(__file__).parent

settings.register_profile("busy", deadline=None)  # a busy machine is no fault
settings.load_profile("busy")


@dataclass(frozen=True)
class Build:
    """A finished `trainer build`."""

    store: Path
    out: Path
    key: Path
    output: str

    def bundle(self, name: str) -> Path:
        """The bundle of `gbt-realistic` and the like."""
        (path,) = (self.out / "bundles").glob(f"{name}-*.bundle")
        return path

    @property
    def trust(self) -> TrustedKeys:
        return load_trusted_keys(self.key.parent)


def run_build(store: Path, out: Path, key: Path, *options: str, env: Mapping[str, str] | None = None) -> Build:
    """`trainer build` on real recordings, as a user would run it.

    Every model ships, whatever its weights, which are others on another processor: a net of which no small form passes
    in float32, and of a forest the one that was fitted.
    """
    command = [sys.executable, "-m", "trainer.cli", "build", str(store), "--out", str(out), "--key", str(key)]
    command += ["--quick", "--allow-float", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **(env or {})})
    assert done.returncode == 0, done.stderr
    return Build(store, out, key, done.stdout + done.stderr)


@pytest.fixture(scope="session")
def schema() -> FeatureSchema:
    return feature_schema()


@pytest.fixture(scope="session")
def episode() -> Episode:
    """A real recording (tests/corpus-ordered/README.md says how it was made)."""
    return read_episode(ONE)


@pytest.fixture
def spoiled(tmp_path: Path) -> Path:
    """A copy of a real recording, to be spoiled."""
    return copy_of(ONE, tmp_path / "store")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of one run of the tests have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def signing_key(shared: Path) -> Path:
    key = shared / "keys" / "test.key"
    with locked(shared / "keys.lock", wait_s=60):
        if not key.exists():
            generate_key(key)
    return key


@pytest.fixture(scope="session")
def built(shared: Path, signing_key: Path) -> Build:
    """All twelve models, quickly fitted, built once per run. Whichever process comes second waits."""
    store, out, said = shared / "build" / "store", shared / "build" / "out", shared / "build" / "output.txt"
    with locked(shared / "build.lock", wait_s=1200):
        if not said.exists():
            said.write_text(run_build(few(store), out, signing_key).output)
    return Build(store, out, signing_key, said.read_text())


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[str]:
    """The address of a real broker."""
    with mosquitto_on(free_port(), tmp_path) as url:
        yield url


LONG = (
    "boot/test_packages.py",
    "trainer/test_build.py",
    "boot/test_service.py",
    "boot/test_machines.py",
    "live/test_watch.py",
    "pythons/test_pythons.py",
    "trainer/test_architectures.py",
    "trainer/test_experiment.py",
    "trainer/test_fit.py",
    "road/test_streams.py",
    "arm64/test_arm64.py",
    "road/test_demo.py",
)
"""Files that take minutes. They go first, so that no process is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what waits for the build of all models, so that `-m "not built"` is quick, and put long files first."""
    for item in items:
        if "built" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.built)
    first = {TESTS / name: i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: first.get(item.path, len(first)))


def pytest_report_header() -> list[str]:
    """Nothing is left out in silence: which Pythons this run shows what on."""
    from tests.pythons.found import FOUND, HERE
    from tests.pythons.userland import OTHER

    absent = [version for version, python in FOUND.items() if python is None]
    present = [version for version in FOUND if version not in absent]
    left_out = f"; NOT on {', '.join(absent)}: not found here" if absent else ""
    return [
        f"everything: on Python {HERE}; demo and quick tests: on {OTHER.python} of Debian {OTHER.name} (build/pythons)",
        f"light install of edge: on Python {', '.join(present)}{left_out}",
    ]
