"""The fuzz target holds for its seeds, and for what the fuzzer makes of them in a short while."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEEDS = Path(__file__).parent / "seeds"
SECONDS = 8


@pytest.mark.slow
def test_readers_hold_while_they_are_fuzzed(tmp_path: Path) -> None:
    """`FUZZ_SECONDS=3600` fuzzes for longer."""
    corpus = tmp_path / "corpus"
    shutil.copytree(SEEDS, corpus)
    limits = [f"-max_total_time={SECONDS}", "-timeout=20", "-rss_limit_mb=2048", "-max_len=80000", "-seed=1"]
    command = [sys.executable, "-m", "tests.fuzz.readers", str(corpus), *limits, f"-artifact_prefix={tmp_path}/"]
    # by way of a shell: Linux counts the memory of whoever starts a process as its own (ru_maxrss survives an exec)
    command = ["sh", "-c", '"$@"; exit $?', "sh", *command]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    runs = re.search(r"Done (\d+) runs", done.stderr)
    assert runs, done.stderr[-1000:]
    assert int(runs[1]) > 100


def test_fuzz_target_would_notice_a_fault(tmp_path: Path) -> None:
    """The same target with a reader that raises what it must not: the fuzzer fails."""
    script = tmp_path / "broken.py"
    script.write_text(
        "import sys, atheris\n"
        "from tests.fuzz import readers\n"
        "def bad(body, stem, path):\n    raise KeyError(stem)\n"
        "readers.row_batches = bad\n"
        "atheris.Setup(sys.argv, readers.one_input)\natheris.Fuzz()\n"
    )
    command = [sys.executable, str(script), str(SEEDS / "qmp-plain"), f"-artifact_prefix={tmp_path}/"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "KeyError" in done.stderr + done.stdout


def test_seeds_are_of_a_real_recording(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "tests.fuzz.readers", "--seeds", str(tmp_path)], cwd=ROOT, check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in SEEDS.iterdir()}
