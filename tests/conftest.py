"""What many tests share: one schema, one recording, one real build."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from contracts.features import FeatureSchema, feature_schema
from contracts.keys import TrustedKeys, generate_key, load_trusted_keys
from contracts.telemetry.episode import Episode, read_episode
from tests.brokers import free_port, mosquitto_on
from tests.recordings import CORPUS, ONE, copy_of


@dataclass(frozen=True)
class Build:
    """A finished `trainer build`."""

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


def run_build(out: Path, key: Path, *options: str) -> Build:
    """`trainer build` on the bundled recordings, as a user would run it."""
    command = [sys.executable, "-m", "trainer.cli", "build", str(CORPUS), "--out", str(out), "--key", str(key)]
    done = subprocess.run([*command, "--quick", *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Build(out, key, done.stdout + done.stderr)


@pytest.fixture(scope="session")
def schema() -> FeatureSchema:
    return feature_schema()


@pytest.fixture(scope="session")
def episode() -> Episode:
    """A real recording (tests/corpus/README.md says how it was made)."""
    return read_episode(ONE)


@pytest.fixture
def spoiled(tmp_path: Path) -> Path:
    """A copy of a real recording, to be spoiled."""
    return copy_of(ONE, tmp_path / "store")


@pytest.fixture(scope="session")
def signing_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = tmp_path_factory.mktemp("keys") / "test.key"
    generate_key(key)
    return key


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, signing_key: Path) -> Build:
    """All twelve models, quickly fitted, built once per run."""
    return run_build(tmp_path_factory.mktemp("build") / "out", signing_key)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[str]:
    """The address of a real broker."""
    with mosquitto_on(free_port(), tmp_path) as url:
        yield url


def pytest_report_header() -> list[str]:
    """Nothing is left out in silence: which Pythons the light install is proven on in this run."""
    from tests.road.test_light_install import OTHERS, PYTHONS

    absent = [version for version, python in OTHERS.items() if python is None]
    left_out = f"; NOT on {', '.join(absent)}: not installed here" if absent else ""
    return [f"light install of edge: on Python {', '.join(PYTHONS)}{left_out}"]
