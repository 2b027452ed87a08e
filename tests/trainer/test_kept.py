"""What is kept from an earlier run is what this program would work out again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import msgspec
import pytest

from contracts.errors import DigestError
from tests.trainer.sets import motion_set
from trainer import versions
from trainer.dataset.dataset import Dataset
from trainer.dataset.folder import read_dataset_manifest
from trainer.evaluate.figures import Evaluation
from trainer.evaluate.kept import kept_evaluation, save_evaluation
from trainer.fits.job import split_path
from trainer.fits.record import Fits, open_fitted, relative
from trainer.split import make_split, recipe_named, save_split
from trainer.versions import EVALUATION, EXTRACTION, FITTING, TUNING, code_digest, library_versions


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return motion_set(tmp_path_factory.mktemp("motion") / "set", windows=60)


def fits_of(dataset: Dataset, splits: dict[str, str]) -> Fits:
    return Fits(
        command="trainer fit",
        dataset="set",
        dataset_digest=dataset.digest,
        splits=splits,
        seeds=(0,),
        quick=True,
        tuned=False,
        left_out={},
        jobs=(),
    )


@pytest.fixture
def fits(motion: Dataset) -> Fits:
    return fits_of(motion, {"held_out_host": "0" * 64})


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


def other_code(root: Path, changed: str, instead: tuple[str, str] | None = None) -> dict[str, str]:
    """The environment of a program whose source differs in one file: in a few words, or only in a comment."""
    for name in ("trainer", "edge", "contracts"):
        shutil.copytree(versions.ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    path = root / changed
    before = path.read_text()
    after = before.replace(*instead) if instead else f"{before}\n# otherwise\n"
    assert after != before
    path.write_text(after)
    return {**os.environ, "PYTHONPATH": str(root)}


def trainer(*arguments: object, env: dict[str, str] | None = None) -> str:
    command = [sys.executable, "-m", "trainer.cli", *map(str, arguments)]
    given = {**os.environ, "PYTHONPATH": str(versions.ROOT)} if env is None else env
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=given, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_dataset_is_cut_anew_by_other_code_and_is_then_another(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    trainer("extract", store, "--out", out, "--workers", "1")
    first = read_dataset_manifest(out)
    shards = {path.name: path.read_bytes() for path in (out / "shards").iterdir()}
    doubled = ("found = _of_whole(some, x, total, time)", "found = 2 * _of_whole(some, x, total, time)")
    other = other_code(tmp_path / "other", "edge/extract/summary.py", doubled)
    trainer("extract", store, "--out", out, "--workers", "1", env=other)
    second = read_dataset_manifest(out)
    assert second.code != first.code
    assert second.digest != first.digest  # or its models would be kept, that were fitted to other windows
    trainer("extract", store, "--out", out, "--workers", "1")
    assert read_dataset_manifest(out) == first
    assert {path.name: path.read_bytes() for path in (out / "shards").iterdir()} == shards


@pytest.mark.slow
def test_models_are_fitted_anew_by_other_code_and_kept_by_the_same(motion: Dataset, tmp_path: Path) -> None:
    where = ("fit", motion.path, "--out", tmp_path / "out")
    fit = (*where, "--architectures", "gbt", "--threat-models", "oracle", "--quick", "--workers", "1")
    assert "kept" not in trainer(*fit)
    assert "fit: 4 of 4 kept from an earlier run" in trainer(*fit)
    for name in ("trainer/report/tables.py", "edge/watch/agent.py"):  # they decide nothing
        said = trainer(*fit, env=other_code(tmp_path / Path(name).stem, name))
        assert "fit: 4 of 4 kept from an earlier run" in said
    assert "kept" not in trainer(*fit, env=other_code(tmp_path / "other", "trainer/seeds.py"))


@pytest.mark.parametrize(
    ("entries", "deciders"),
    [
        (("trainer.sweep.examine", "trainer.extraction.extract"), EXTRACTION),
        (("trainer.fits.fit_one", "trainer.workers.tensorflow_ready"), FITTING),
        (("trainer.evaluate.answers", "trainer.evaluate.evaluation"), EVALUATION),
        (("trainer.fits.tune",), TUNING),
    ],
    ids=["extraction", "fitting", "evaluation", "tuning"],
)
def test_a_code_digest_holds_every_module_that_is_used(entries: tuple[str, ...], deciders: tuple[str, ...]) -> None:
    """But for those that only say, store or hand out work, and the split, whose outcome has a digest of its own."""
    names = ("checkpoint", "job", "plan", "stage", "tune", "worker")
    silent = ["trainer.plan", "trainer.split", "trainer.versions", *(f"trainer.fits.{name}" for name in names)]
    silent += [
        f"trainer.workers.{name}" for name in ("engine", "hush", "no_gc", "processes", "progress", "run", "start")
    ]
    silent += ["trainer.workers.cluster"]
    graph = grimp.build_graph("trainer", "edge", "contracts", cache_dir=None)
    for worked in (*silent, "trainer.compile"):  # a stage knows of every kind of job
        for module in {worked, *graph.find_descendants(worked)}:
            for imported in graph.find_modules_directly_imported_by(module):
                graph.remove_import(importer=module, imported=imported)
    used = set(entries).union(*(graph.find_upstream_modules(entry) for entry in entries))
    held = [place.removesuffix(".py").replace("/", ".") for place in deciders]
    unheld = {
        module for module in used if not any(module == one or module.startswith(f"{one}.") for one in (*held, *silent))
    }
    assert unheld <= {"edge", "trainer", "trainer.fits", "trainer.workers"}


def test_fits_of_other_splits_are_other_fits_and_their_evaluation_is_not_kept(fits: Fits, tmp_path: Path) -> None:
    """`--held-out` decides a split and stands nowhere else."""
    save_evaluation(evaluation_of(fits), tmp_path)
    other = msgspec.structs.replace(fits, splits={"held_out_host": "1" * 64})
    assert kept_evaluation(fits, tmp_path) is not None
    assert kept_evaluation(other, tmp_path) is None


def test_a_split_that_changed_after_the_fit_is_refused(motion: Dataset, tmp_path: Path) -> None:
    first, second = (make_split(motion, recipe_named("held_out_host", 0), f"person-{i}") for i in (1, 2))
    made = fits_of(motion, {"held_out_host": first.digest})
    made = msgspec.structs.replace(made, dataset=relative(motion.path, tmp_path))
    save_split(second, split_path(tmp_path, "held_out_host"))
    found = rf"split-held_out_host\.json: split {second.digest[:12]}…; expected {first.digest[:12]}…, .*; fit again"
    with pytest.raises(DigestError, match=found):
        open_fitted(made, tmp_path)
    save_split(first, split_path(tmp_path, "held_out_host"))
    assert open_fitted(made, tmp_path)[1] == {"held_out_host": first}
