"""Work in a process of its own, forked from one that has TensorFlow: it may die or hang, and leaves no trace."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from trainer.workers.forked import run_forked


def _hangs(_: Path) -> None:
    time.sleep(600)


def _dies(_: Path) -> None:
    os.abort()


def _fails(_: Path) -> None:
    raise ValueError("not that one")


def _says(folder: Path) -> None:
    names = sorted(name for name in ("keras", "tensorflow") if name in sys.modules)
    (folder / "ready").write_text(" ".join([*names, str(len(list(folder.iterdir())))]))
    print("something", flush=True)


def test_forked_work_is_said_to_hang_to_die_or_to_fail_with_what_it_said_last(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert run_forked(_hangs, tmp_path, 1, log) == "took over 1 s"
    assert run_forked(_dies, tmp_path, 600, log) == "died of SIGABRT"
    assert run_forked(_fails, tmp_path, 600, log) == "ended with 1"
    assert log.read_text().splitlines()[-1] == "ValueError: not that one"


def test_forked_work_begins_with_tensorflow_loaded_and_writes_to_its_log_alone(tmp_path: Path) -> None:
    """In a process that has forked nothing before."""
    code = f"from pathlib import Path; from tests.trainer.test_forked import twice; twice(Path({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (done.stdout, done.stderr) == (b"", b"")
    assert (tmp_path / "ready").read_text() == "keras tensorflow 2"
    assert (tmp_path / "log").read_text() == "something\n"


def twice(folder: Path) -> None:
    for _ in range(2):
        assert run_forked(_says, folder, 600, folder / "log") is None
