"""Which Python `make` takes. Nothing is installed: make says what it would do, and refuses for real."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AS = "import sys; sys.version_info = ({version}, 99); {more}del sys.argv[1]; exec(sys.argv.pop(1))"
WITHOUT_VENV = (
    "import importlib.util as u; sys.modules['ensurepip'] = None; known = u.find_spec; "
    "u.find_spec = lambda name: None if name == 'ensurepip' else known(name); "
)


class Place:
    """A clone with nothing in it but what make reads, and a PATH with nothing on it but what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.clone, self.path = folder / "clone", folder / "bin"
        self.clone.mkdir()
        self.path.mkdir()
        for name in ("Makefile", "constraints.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, self.clone)
        self.make_program = str(shutil.which("make"))

    def put(self, name: str, version: str, *, venv: bool = True) -> Path:
        """A Python that is as old as it says."""
        code = AS.format(version=version.replace(".", ", "), more="" if venv else WITHOUT_VENV)
        return self.script(self.path / name, f'exec "{sys.executable}" -c "{code}" "$@"')

    def script(self, path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def environment(self) -> None:
        """An environment that is ready, of the Python that runs this."""
        self.script(self.clone / ".venv" / "bin" / "python", f'exec "{sys.executable}" "$@"')
        (self.clone / ".venv" / ".ready").touch()

    def make(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [self.make_program, *map(str, arguments)]
        return subprocess.run(
            command, cwd=self.clone, env={"PATH": str(self.path)}, capture_output=True, text=True, check=False
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_make_takes_the_newest_python_that_fits(place: Place) -> None:
    place.put("python3", "3.14")
    place.put("python3.11", "3.11")
    assert "python3.11 -m venv" in place.make("-n", "setup").stdout
    place.put("python3.12", "3.12")
    assert "python3.12 -m venv" in place.make("-n", "setup").stdout
    place.script(place.path / "python3.13", "exit 127")  # a shim with nothing behind it
    assert "python3.12 -m venv" in place.make("-n", "setup").stdout
    place.put("python3.13", "3.13", venv=False)
    assert "python3.12 -m venv" in place.make("-n", "setup").stdout
    place.put("python3.13", "3.13")
    assert "python3.13 -m venv" in place.make("-n", "setup").stdout


def test_make_names_the_pythons_found_and_expected_when_none_fits(place: Place) -> None:
    remedy = "expected Python 3.11, 3.12 or 3.13 with venv (Debian: python3-venv); install it, or say make PYTHON="
    done = place.make("setup")
    assert done.returncode == 2
    assert f"make: found no Python; {remedy}" in done.stderr
    place.put("python3.12", "3.12", venv=False)
    place.put("python3", "3.14")
    done = place.make("setup")
    assert done.returncode == 2
    assert f"make: found python3.12 (3.12 without venv) python3 (3.14); {remedy}" in done.stderr
    old = place.put("mine", "3.10")
    assert f"make: found {old} (3.10); {remedy}" in place.make("setup", f"PYTHON={old}").stderr


def test_make_makes_the_environment_anew_only_for_another_python_than_its_own(place: Place) -> None:
    place.environment()
    place.put("python3.13", "3.13")
    assert " -m venv" not in place.make("-n", "setup").stdout  # it is there, and nobody asked for another
    assert " -m venv" not in place.make("-n", "setup", f"PYTHON={sys.executable}").stdout
    other = place.put("other", "3.12")
    assert f"{other} -m venv --clear .venv" in place.make("-n", "setup", f"PYTHON={other}").stdout
    place.script(place.clone / ".venv" / "bin" / "python", "exit 127")  # its Python was removed
    assert "python3.13 -m venv --clear .venv" in place.make("-n", "setup").stdout
    place.script(place.clone / ".venv" / "bin" / "python", f'exec "{sys.executable}" -I -S "$@"')  # cut off before pip
    assert "python3.13 -m venv --clear .venv" in place.make("-n", "setup").stdout
