"""A command that refuses its input has written nothing: no key, no folder, no lock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TRAINER = {
    "validate": ["validate", "absent"],
    "validate elsewhere": ["validate", "absent", "--out", "made/index.parquet"],
    "explain": ["explain", "absent/host/episode"],
    "extract": ["extract", "absent", "--out", "made"],
    "split": ["split", "absent"],
    "describe": ["describe", "absent"],
    "fit": ["fit", "absent", "--out", "made"],
    "evaluate": ["evaluate", "absent"],
    "report": ["report", "absent"],
    "build": ["build", "absent", "--out", "made"],
    "build of an empty folder": ["build", "empty", "--out", "made"],
    "build of other channels": ["build", "absent", "--out", "made", "--channels", "absent.toml"],
    "inspect": ["inspect", "absent.bundle"],
    "diff": ["diff", "absent.bundle", "other.bundle"],
}
EDGE = {
    "install": ["install", "absent.bundle"],
    "self-test": ["self-test", "absent.bundle"],
    "rollback": ["rollback"],
    "promote": ["promote"],
    "dismiss": ["dismiss"],
    "replay": ["replay", "absent", "--bundle", "absent.bundle", "--broker", "mqtt://127.0.0.1:9"],
    "replay of what is installed": ["replay", "absent", "--broker", "mqtt://127.0.0.1:9"],
}


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize(("program", "name"), [*(("trainer", n) for n in TRAINER), *(("edge", n) for n in EDGE)])
def test_nothing_is_written_where_the_input_is_missing(program: str, name: str, tmp_path: Path) -> None:
    arguments = (TRAINER if program == "trainer" else EDGE)[name]
    (tmp_path / "home").mkdir()
    (tmp_path / "work" / "empty").mkdir(parents=True)
    before = everything(tmp_path)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
    done = subprocess.run(
        [sys.executable, "-m", f"{program}.cli", *arguments],
        cwd=tmp_path / "work", capture_output=True, text=True, check=False,
        env={**environment, "HOME": str(tmp_path / "home"), "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "; expected " in done.stderr
    assert everything(tmp_path) == before
