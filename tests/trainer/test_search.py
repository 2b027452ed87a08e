"""`--tune`: its defaults are the fit that is made without it; any seed will do; bounds are part of the question."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from contracts.errors import ConfigError
from tests.trainer.sets import motion_set, sides
from tests.trainer.test_fit import weights_of
from trainer.architectures.architecture import Architecture, FitSettings
from trainer.architectures.named import architecture_named
from trainer.dataset.dataset import Dataset
from trainer.fits.checkpoint import read_stamp
from trainer.fits.fit_one import checkpoint_of
from trainer.fits.plan import FitPlan, Search
from trainer.fits.record import Fits
from trainer.fits.stage import fit_models, split_all
from trainer.fits.study import Tuned
from trainer.split import recipe_named
from trainer.workers.start import engine

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.architectures.training.loop.EPOCHS_QUICK", 2)
        patch.setattr("trainer.architectures.gbt.ROUNDS_QUICK", 12)
        patch.setattr("trainer.architectures.gbt.SEGMENT", 5)
        yield


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return motion_set(tmp_path_factory.mktemp("motion") / "set", windows=120)


def fitted(
    motion: Dataset, out: Path, trials: int | None, *, seed: int = 0, models: str = "gbt", max_bytes: int = 10**9
) -> Fits:
    search = None if trials is None else Search(trials=trials, max_bytes=max_bytes, max_operations=10**9)
    plan = FitPlan(
        out=out,
        architectures=tuple(models.split(",")),
        threat_models=("oracle",),
        recipes=(recipe_named("held_out_host", 60),),
        held_out=None,
        seeds=(seed,),
        quick=True,
        search=search,
        command="trainer fit",
    )
    with engine(1) as made:
        return fit_models(motion, split_all(motion, plan), plan, made)


def found_by(out: Path, name: str = "gbt") -> Tuned:
    return msgspec.json.decode((out / "tuning" / f"held_out_host-{name}-oracle.json").read_bytes(), type=Tuned)


@pytest.mark.parametrize("architecture", [architecture_named("gbt"), architecture_named("mlp")], ids=lambda a: a.name)
def test_a_fit_is_the_same_whether_its_defaults_are_named_or_not(
    architecture: Architecture, motion: Dataset, tmp_path: Path
) -> None:
    """Trees, and one net for all: they take their settings in one place."""
    train, validation = sides(motion, architecture)
    named = architecture.resolved({}, quick=True)
    one, two = (
        architecture.fit(train, validation, FitSettings(seed=0, quick=True, settings=some)) for some in ({}, named)
    )
    assert weights_of(one, tmp_path / "one") == weights_of(two, tmp_path / "two")


def test_a_search_of_one_trial_tries_the_very_fit_that_is_made_without_it(motion: Dataset, tmp_path: Path) -> None:
    without, tuned = tmp_path / "without", tmp_path / "tuned"
    fitted(motion, without, None, models="gbt,mlp")
    fits = fitted(motion, tuned, 1, models="gbt,mlp")
    for job in fits.jobs:
        assert read_stamp(checkpoint_of(job, tuned)).settings == job.settings
    files = sorted(path.relative_to(without) for path in without.glob("checkpoints/**/*") if path.is_file())
    assert len(files) > 4
    for file in files:
        assert (without / file).read_bytes() == (tuned / file).read_bytes(), file
    for name in ("gbt", "mlp"):
        found = found_by(tuned, name)
        assert found.settings == architecture_named(name).resolved({}, quick=True)
        assert found.default == found.validation


@pytest.mark.parametrize("seed", [0, 42_950, 2**32 - 1])
def test_a_search_that_was_stopped_goes_on_as_it_would_have_with_any_seed(
    seed: int, motion: Dataset, tmp_path: Path
) -> None:
    fitted(motion, tmp_path / "stopped", 2, seed=seed)
    fitted(motion, tmp_path / "stopped", 4, seed=seed)
    fitted(motion, tmp_path / "whole", 4, seed=seed)
    assert found_by(tmp_path / "stopped") == found_by(tmp_path / "whole")


def test_what_was_too_costly_for_one_search_is_not_for_a_wider_one(motion: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tuning gbt-oracle: none of 2 settings within 1 bytes and 1000000000 op"):
        fitted(motion, tmp_path / "both", 2, max_bytes=1)
    fitted(motion, tmp_path / "both", 2)
    fitted(motion, tmp_path / "wide", 2)
    assert found_by(tmp_path / "both") == found_by(tmp_path / "wide")
