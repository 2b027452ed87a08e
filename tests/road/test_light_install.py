"""`edge` alone, in a clean environment: none of the trainer's packages, and it replays."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.brokers import free_port, mosquitto_on
from tests.conftest import Build
from tests.pythons.found import FOUND, interpreters_of
from tests.recordings import ONE

pytestmark = [pytest.mark.slow, pytest.mark.system]
ROOT = Path(__file__).parents[2]
FORBIDDEN = {"tensorflow", "keras", "xgboost", "pandas", "scikit-learn", "pyarrow", "treelite", "scipy", "rich"}
PYTHONS = {version: python for version, python in FOUND.items() if python}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole project's, as a release has it."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("contracts", "edge", "trainer"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source" / name)
    make = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*make, str(folder / "source")], check=True)
    (made,) = folder.glob("phasewatch-*.whl")
    return made


@pytest.mark.parametrize("version", PYTHONS)
def test_edge_alone_installs_light_and_replays(version: str, tmp_path: Path, wheel: Path, built: Build) -> None:
    """Python 3.11 takes tflite-runtime, later ones LiteRT. The ids name the Pythons that were found; see the header."""
    python = PYTHONS[version]
    venv = tmp_path / "venv"
    subprocess.run([python, "-m", "venv", "--without-pip", venv], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "--disable-pip-version-check"]
    install = [*pip, "install", "--quiet"]
    requirements = ROOT / "firmware-config" / "requirements.txt"
    subprocess.run([*install, "--require-hashes", "-r", str(requirements)], check=True)
    subprocess.run([*install, "--no-deps", str(wheel)], check=True)

    listed = subprocess.run([*pip, "list", "--format", "json"], capture_output=True, check=True)
    names = {entry["name"].lower() for entry in json.loads(listed.stdout)}
    assert not names & FORBIDDEN
    checked = subprocess.run([*pip, "check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout

    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for name in ("gbt-realistic", "cnn-realistic"):
        with mosquitto_on(free_port(), tmp_path) as url:
            command = [str(venv / "bin" / "edge"), "replay", str(ONE), "--bundle", str(built.bundle(name))]
            command += ["--broker", url, "--trust", str(built.key.parent)]
            command += ["--outbox", str(tmp_path / f"{name}.sqlite")]
            done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
    sample = [str(venv / "bin" / "edge"), "check-config", str(ROOT / "firmware-config" / "edge.toml")]
    assert (
        "guest camera-1: proc, qmp, guest, netflow"
        in subprocess.run(sample, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout
    )
    # a Pi gets one interpreter, and the lock's last is that one
    assert f"windows through {interpreters_of(version)[-1]}" in done.stderr


def test_importing_edge_and_contracts_loads_nothing_heavy() -> None:
    script = (
        "import sys, pkgutil, importlib, contracts, edge\n"
        "for package in (contracts, edge):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
        "print([m for m in ('tensorflow','keras','xgboost','pandas','sklearn','pyarrow','treelite','scipy','rich')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_contracts_load_without_numpy() -> None:
    script = (
        "import sys, pkgutil, importlib, contracts\n"
        "for module in pkgutil.walk_packages(contracts.__path__, 'contracts.'): importlib.import_module(module.name)\n"
        "print('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_edge_requirements_are_the_constraints_own_lines() -> None:
    """One set of versions and hashes: what runs on a Pi was tested on the workstation."""

    def pins(name: str) -> dict[str, str]:
        text = (ROOT / name).read_text().replace("\\\n", " ")
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        return {line.split(";")[0].split(" ")[0]: " ".join(sorted(line.split("--hash=")[1:])) for line in lines}

    full, edge = pins("constraints.txt"), pins("firmware-config/requirements.txt")
    for pin, hashes in edge.items():
        assert sorted(full[pin].split()) == sorted(hashes.split()), pin
