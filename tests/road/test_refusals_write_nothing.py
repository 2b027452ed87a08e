"""A command that refuses its input has written nothing: no key, no folder, no lock."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from contracts.features.channels import Channel
from trainer.dataset.from_arrays import write_dataset

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
    "build of a damaged dataset": ["build", "damaged", "--out", "made"],
    "build of a dataset that nobody may see": ["build", "guests", "--out", "made"],
    "build of a dataset with other channels": ["build", "guests", "--out", "made", "--channels", "own.toml"],
    "build with a key that is absent": ["build", "guests", "--out", "made", "--threat-models", "oracle", "--key", "no"],
    "build with nothing to hold out": ["build", "guests", "--out", "made", "--threat-models", "oracle"],
    "build by an architecture that is none": ["build", "guests", "--out", "made", "--architectures", "svm"],
    "fit of a damaged dataset": ["fit", "damaged", "--out", "made"],
    "fit of a dataset that nobody may see": ["fit", "guests", "--out", "made"],
    "fit with nothing to hold out": ["fit", "guests", "--out", "made", "--threat-models", "oracle"],
    "extract of other channels": ["extract", "episodes", "--out", "made", "--channels", "absent.toml"],
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


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores and datasets that are refused: empty, damaged, of one host, of what the guest alone says."""
    folder = tmp_path_factory.mktemp("inputs") / "work"
    (folder / "empty").mkdir(parents=True)
    (folder / "episodes" / "host" / "episode").mkdir(parents=True)
    (folder / "damaged").mkdir()
    (folder / "damaged" / "dataset.json").write_text("{")
    (folder / "own.toml").write_text('[[channel]]\nname = "rss"\nsource = "proc"\nkind = "given"\nunit = "B"\n')
    write_dataset(
        folder / "guests",
        np.zeros((6, 1, 4)),
        None,
        np.arange(6) % 2,
        episode_id=[f"episode-{i // 2}" for i in range(6)],
        host_id=["host"] * 6,
        channels=(Channel(name="load", source="guest", kind="given", unit="1"),),
        classes=("clean", "other"),
    )
    return folder


@pytest.mark.parametrize(("program", "name"), [*(("trainer", n) for n in TRAINER), *(("edge", n) for n in EDGE)])
def test_nothing_is_written_where_the_input_is_refused(program: str, name: str, inputs: Path, tmp_path: Path) -> None:
    arguments = (TRAINER if program == "trainer" else EDGE)[name]
    (tmp_path / "home").mkdir()
    shutil.copytree(inputs, tmp_path / "work")
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
