"""A checkpoint's save, killed for real at every step."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.trainer import dying
from trainer.fits.checkpoint import read_stamp

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_save_that_is_killed_at_any_step_leaves_a_whole_checkpoint_or_none_and_the_next_save_succeeds(
    tmp_path: Path,
) -> None:
    subprocess.run([sys.executable, "-m", "tests.trainer.dying", str(tmp_path)], check=True, cwd=ROOT)
    folders = [step / "checkpoint" for step in sorted(tmp_path.iterdir())]
    found = [read_stamp(folder).seed if folder.exists() else None for folder in folders]
    assert len(found) > 8
    assert found == sorted(found, key=[0, None, 1].index)  # the old one, for a moment none, then the new one
    assert {0, 1} <= set(found)
    for folder in folders:
        dying.save(folder, 2)
        assert read_stamp(folder) == dying.stamp(2)
        assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]
