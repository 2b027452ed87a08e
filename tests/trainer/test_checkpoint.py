"""Checkpoints: written whole or not at all, never at the cost of the one before, and loaded for nothing else."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from contracts.errors import DatasetError, StorageError
from tests.trainer.sets import CHANNELS, motion_set, sides
from trainer.architectures.architecture import Architecture, FitSettings, Fitted
from trainer.architectures.named import architecture_named
from trainer.architectures.net import NetModel
from trainer.dataset.dataset import Dataset
from trainer.fits.checkpoint import Stamp, load_checkpoint, save_checkpoint

IDS = tuple(channel.id for channel in CHANNELS)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.architectures.training.loop.EPOCHS_QUICK", 8)
        yield


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return motion_set(tmp_path_factory.mktemp("motion") / "set", windows=180)


@pytest.fixture(scope="module")
def fitted(motion: Dataset) -> Fitted:
    architecture = architecture_named("mlp")
    return architecture.fit(*sides(motion, architecture), FitSettings(seed=0, quick=True))


@pytest.fixture
def kept(motion: Dataset, fitted: Fitted, tmp_path: Path) -> tuple[Architecture, Fitted, Stamp, Path]:
    """A checkpoint."""
    architecture = architecture_named("mlp")
    stamp = Stamp(
        architecture="mlp",
        version=architecture.version,
        schema_hash=motion.schema.hash,
        dataset_digest=motion.digest,
        split_digest="0" * 64,
        channels=IDS,
        classes=motion.classes,
        seed=0,
        quick=True,
        settings=architecture.resolved({}, quick=True),
        versions={},
        code="0" * 64,
    )
    folder = tmp_path / "checkpoint"
    assert fitted.model is not None
    save_checkpoint(fitted.model, fitted.curves, stamp, folder)
    return architecture, fitted, stamp, folder


def test_a_checkpoint_is_as_open_as_the_umask_lets_it(kept: tuple[Architecture, Fitted, Stamp, Path]) -> None:
    _, fitted, stamp, folder = kept
    assert fitted.model is not None
    before = os.umask(0o077)
    try:
        save_checkpoint(fitted.model, fitted.curves, stamp, folder)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_checkpoint_that_cannot_take_its_place_gives_it_back(
    kept: tuple[Architecture, Fitted, Stamp, Path], motion: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture, fitted, stamp, folder = kept
    before, rename = {path.name: path.read_bytes() for path in folder.iterdir()}, Path.rename

    def fails(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    assert fitted.model is not None
    with pytest.raises(StorageError, match="Input/output error"):
        save_checkpoint(fitted.model, fitted.curves, stamp, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]
    load_checkpoint(architecture, folder, motion.schema, stamp)


@pytest.mark.parametrize("killed", ["while it was written", "between the two renames", "before it tidied up"])
def test_a_checkpoint_is_saved_after_a_save_that_was_killed(
    kept: tuple[Architecture, Fitted, Stamp, Path], motion: Dataset, killed: str
) -> None:
    architecture, fitted, stamp, folder = kept
    before, part = folder.with_name(".checkpoint.before"), folder.with_name(".checkpoint.abc.part")
    shutil.copytree(folder, part)
    if killed == "between the two renames":
        folder.rename(before)
    elif killed == "before it tidied up":
        shutil.copytree(folder, before)
        shutil.rmtree(part)
    assert fitted.model is not None
    save_checkpoint(fitted.model, fitted.curves, stamp, folder)
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]
    load_checkpoint(architecture, folder, motion.schema, stamp)


def test_a_checkpoint_of_other_code_is_refused(kept: tuple[Architecture, Fitted, Stamp, Path], motion: Dataset) -> None:
    architecture, _, stamp, folder = kept
    with pytest.raises(
        DatasetError, match=r"checkpoint\.json: code 000000000000…; expected 111111111111…; fit it again"
    ):
        load_checkpoint(architecture, folder, motion.schema, msgspec.structs.replace(stamp, code="1" * 64))


def test_a_disk_that_is_full_while_a_checkpoint_is_written_leaves_the_one_before(
    kept: tuple[Architecture, Fitted, Stamp, Path], motion: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture, fitted, stamp, folder = kept
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(_self: NetModel, place: Path) -> None:
        (place / "weights.npz").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(NetModel, "save", full)
    assert fitted.model is not None
    with pytest.raises(
        StorageError, match=r"cannot be written \(No space left on device\); expected space for weights"
    ):
        save_checkpoint(fitted.model, fitted.curves, stamp, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]
    load_checkpoint(architecture, folder, motion.schema, stamp)


def test_a_disk_that_is_really_full_is_one_line_and_leaves_no_checkpoint(motion: Dataset, tmp_path: Path) -> None:
    """A limit on file sizes fails a write as a full disk does (EFBIG in place of ENOSPC)."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        "from trainer.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, "fit", str(motion.path), "--out", str(tmp_path / "out"), "--quick"]
    command += ["--architectures", "mlp", "--threat-models", "oracle", "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "cannot be written (File too large)" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.glob("out/checkpoints/**/checkpoint.json"))


def test_a_checkpoint_of_other_classes_or_settings_is_refused(
    kept: tuple[Architecture, Fitted, Stamp, Path], motion: Dataset
) -> None:
    architecture, _, stamp, folder = kept
    load_checkpoint(architecture, folder, motion.schema, stamp)
    for field, value in (("classes", ("a", "b", "c")), ("settings", {"rate": 0.1}), ("channels", IDS[:2])):
        with pytest.raises(DatasetError, match=rf"checkpoint\.json: {field} .*; fit it again"):
            load_checkpoint(architecture, folder, motion.schema, msgspec.structs.replace(stamp, **{field: value}))
