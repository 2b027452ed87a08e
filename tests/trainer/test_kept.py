"""What is kept from an earlier run is what this program would work out again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.trainer.sets import motion_set
from trainer import versions
from trainer.corpus.dataset import Dataset
from trainer.evaluate.record import Evaluation
from trainer.evaluate.stored import kept_evaluation, save_evaluation
from trainer.fits import Fits
from trainer.versions import EVALUATION, code_digest, library_versions


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return motion_set(tmp_path_factory.mktemp("motion") / "set", windows=60)


@pytest.fixture
def fits(motion: Dataset) -> Fits:
    return Fits(
        command="trainer fit",
        dataset="set",
        dataset_digest=motion.digest,
        recipes=(),
        seeds=(0,),
        quick=True,
        tuned=False,
        left_out={},
        jobs=(),
    )


def evaluation_of(fits: Fits) -> Evaluation:
    return Evaluation(
        fits=fits.digest, command="", versions=library_versions(), code=code_digest(*EVALUATION), schema_hash="",
        dataset_digest=fits.dataset_digest, classes=[], arrays=True, timed=False, episodes=0, windows=0, left_out={},
        quick=True, seeds=[0], tuned=False, replicates=0, recipes=[],
    )  # fmt: skip


def test_an_evaluation_is_kept_by_the_code_that_made_it_alone(
    fits: Fits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_evaluation(evaluation_of(fits), tmp_path)
    assert kept_evaluation(fits, tmp_path) is not None
    for name in ("trainer", "edge", "contracts"):
        shutil.copytree(versions.ROOT / name, tmp_path / "source" / name)
    monkeypatch.setattr(versions, "ROOT", tmp_path / "source")
    assert kept_evaluation(fits, tmp_path) is not None  # the same code elsewhere
    changed = tmp_path / "source" / "trainer" / "evaluate" / "alarms.py"
    changed.write_text(changed.read_text() + "\n# otherwise\n")
    versions._digest.cache_clear()
    try:
        assert kept_evaluation(fits, tmp_path) is None
    finally:
        versions._digest.cache_clear()


def test_a_code_digest_goes_by_names_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def digest(**files: str) -> str:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        (root / "some").mkdir(parents=True)
        for name, text in files.items():
            (root / "some" / f"{name}.py").write_text(text)
        monkeypatch.setattr(versions, "ROOT", root)
        return code_digest("some")

    assert digest(a="1", b="2") == digest(b="2", a="1")
    assert len({digest(a="1", b="2"), digest(a="12", b=""), digest(a="1", c="2"), digest(a="1"), digest(a="2")}) == 5
