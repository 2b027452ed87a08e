"""A fit finds its dataset again: through links, from other working folders, and after both have moved."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from contracts.errors import MissingError
from tests.trainer.sets import motion_set
from trainer.dataset.dataset import Dataset
from trainer.dataset.open import open_dataset
from trainer.fits.job import split_path
from trainer.fits.record import Fits, load_fits, open_fitted, relative, save_fits
from trainer.split import make_split, recipe_named, save_split


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return motion_set(tmp_path_factory.mktemp("motion") / "set", windows=120)


def fitted(dataset: Path, out: Path) -> None:
    """As `trainer fit` leaves it, but for the models."""
    opened = open_dataset(dataset)
    split = make_split(opened, recipe_named("held_out_host", 60))
    save_split(split, split_path(out, "held_out_host"))
    fits = Fits(
        command="trainer fit",
        dataset=relative(dataset, out),
        dataset_digest=opened.digest,
        splits={"held_out_host": split.digest},
        seeds=(0,),
        quick=True,
        tuned=False,
        left_out={},
        jobs=(),
    )
    save_fits(fits, out)


def finds_it(out: Path, motion: Dataset) -> None:
    dataset, splits = open_fitted(load_fits(out), out)
    assert dataset.digest == motion.digest
    assert splits["held_out_host"].dataset_digest == motion.digest


LAYOUTS = {
    "beside each other": {},
    "out is a link": {"work/out": "../elsewhere/deep/models"},
    "out is below a link": {"work": "elsewhere/deep"},
    "the dataset is a link": {"work/data": "../elsewhere/deep/set"},
    "the dataset is below a link": {"work": "elsewhere/deep"},
    "both are links": {"work/out": "../elsewhere/deep/models", "work/data": "../other/set"},
    "out is a link to a link": {"first": "elsewhere/deep/models", "work/out": "../first"},
}


@pytest.mark.parametrize("away", [True, False], ids=["named absolutely", "named from the working folder"])
@pytest.mark.parametrize("links", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_a_fit_finds_its_dataset_whatever_is_a_link(
    links: dict[str, str], away: bool, motion: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    for name, target in links.items():
        link = base / name
        link.parent.mkdir(parents=True, exist_ok=True)
        (link.parent / target).resolve().mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
    shutil.copytree(motion.path, base / "work" / "data", dirs_exist_ok=True)
    monkeypatch.chdir(base)
    root = base if away else Path()
    fitted(root / "work" / "data", root / "work" / "out")
    finds_it(root / "work" / "out", motion)
    finds_it((base / "work" / "out").resolve(), motion)
    monkeypatch.chdir(tmp_path)
    finds_it(Path("base/work/out"), motion)
    base.rename(tmp_path / "moved")
    finds_it(tmp_path / "moved" / "work" / "out", motion)
    (tmp_path / "other-name").symlink_to("moved")
    finds_it(tmp_path / "other-name" / "work" / "out", motion)


@pytest.mark.parametrize("dataset", [".", "..", "../data/", "../out/../data"])
def test_a_dataset_is_found_however_it_was_named(
    dataset: str, motion: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(motion.path, tmp_path / "data")
    (tmp_path / "out").mkdir()
    inside = {".": "data", "..": "data/shards"}.get(dataset, "out")
    monkeypatch.chdir(tmp_path / inside)
    fitted(Path(dataset), tmp_path / "out")
    monkeypatch.chdir("/")
    finds_it(tmp_path / "out", motion)


def test_a_linked_dataset_is_followed_when_it_moves_with_its_link(motion: Dataset, tmp_path: Path) -> None:
    """The link is what was named: where it leads to later is the dataset."""
    shutil.copytree(motion.path, tmp_path / "disk" / "set")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "data").symlink_to(tmp_path / "disk" / "set")
    fitted(tmp_path / "work" / "data", tmp_path / "work" / "out")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "work").rename(tmp_path / "deep" / "er" / "work")
    finds_it(tmp_path / "deep" / "er" / "work" / "out", motion)


def test_a_dataset_that_is_gone_is_refused_with_the_place_where_it_was(motion: Dataset, tmp_path: Path) -> None:
    shutil.copytree(motion.path, tmp_path / "data")
    fitted(tmp_path / "data", tmp_path / "out")
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(MissingError, match=r"data: no such folder; expected a dataset; make one with `trainer extract"):
        finds_it(tmp_path / "out", motion)
