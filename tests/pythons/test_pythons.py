"""The other Python (userland.py) trains, compiles, signs and replays, and the quick tests pass there."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.pythons.found import interpreters_of
from tests.pythons.userland import OTHER, python_of
from tests.recordings import few

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "pythons"
EDGE = ("broker", "flows", "golden", "golden_models", "outbox", "scores", "windows")
FILES = ("tests/contracts", *(f"tests/edge/test_{name}.py" for name in EDGE))
"""What hangs on the interpreter, on numpy or on SQLite."""
QUICK = "not built and not slow and not system and not arm64 and not pythons"

pytestmark = [pytest.mark.slow, pytest.mark.pythons]


@pytest.fixture(scope="module")
def python() -> Path:
    found = python_of(FOLDER)
    if not found.exists():
        pytest.fail(
            "there is no other Python: `make pythons` unpacks it, `make test` and `make test-pythons` do so first"
        )
    return found


def run(python: Path, *arguments: object) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    command = [str(python), *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, env={**environment, "NO_COLOR": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def test_the_other_python_is_debians_own_down_to_the_c_library(python: Path) -> None:
    """No library that the machine itself installed is loaded: it is what a user of that release would have."""
    script = (
        "import bz2, ctypes, lzma, sqlite3, ssl, edge.watch.agent\n"
        "import ai_edge_litert.interpreter, pyarrow, tl2cgen, xgboost\n"
        "from pathlib import Path; maps = Path('/proc/self/maps').read_text().splitlines()\n"
        "print(*{line.split()[5] for line in maps if '.so' in line}, sep='\\n')"
    )
    loaded = run(python, "-c", script).split()
    assert any(path.endswith("libc.so.6") for path in loaded)
    assert [path for path in loaded if not path.startswith(f"{FOLDER}/")] == []
    assert run(python, "-c", "import platform; print(platform.python_version())").startswith(f"{OTHER.python}.")


def test_demo_runs_on_the_other_python(python: Path, tmp_path: Path) -> None:
    """gbt and cnn fitted, compiled by the machine's compiler, proven, signed; all six events seen after a replay."""
    store = few(tmp_path / "store")
    said = run(python, "-m", "trainer.demo", "--store", store, "--out", tmp_path / "out", "--speed", "max")
    assert "the agent was" in said
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    runtimes = {
        entry["architecture"]: {one["runtime"].split()[0] for one in entry["runtimes"]} for entry in index["bundles"]
    }
    assert runtimes == {"gbt": {"treelite-native", "treelite-gtil"}, "cnn": set(interpreters_of(OTHER.python))}


def test_quick_tests_pass_on_the_other_python(python: Path, tmp_path: Path) -> None:
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--basetemp", tmp_path / "tests", "-m", QUICK]
    said = run(python, "-m", "pytest", *options, *FILES)
    assert " passed" in said.splitlines()[-1]
