"""Classes that were never tested are named by diff and report; a model that gives no numbers is refused, not scored."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.bundle.archive import Bundle, read_bundle
from contracts.bundle.keys import load_trusted_keys
from contracts.errors import ConfigError, DivergedError
from contracts.features.schema import FeatureSchema
from contracts.vocabulary import PHASES
from tests.bundles import make_bundle
from tests.trainer.sets import motion_set
from trainer.architectures.architecture import Cost
from trainer.bundle.diff import differ, in_words
from trainer.bundle.held_out import MEMBER, HeldOut
from trainer.dataset.dataset import Dataset
from trainer.dataset.side import Side
from trainer.evaluate import answers
from trainer.evaluate.answers import answers_of
from trainer.fits import study
from trainer.fits.job import Job, split_path
from trainer.fits.plan import Search
from trainer.split import Split, make_split, recipe_named, save_split


class Silent:
    """A model that is right wherever it answers, and gives no number on the first window, or on those of a source that
    is not observed."""

    def __init__(self, *, at_once: bool) -> None:
        self._at_once = at_once

    def predict_side(self, side: Side) -> NDArray[np.float32]:
        said = np.eye(len(side.classes), dtype=np.float32)[side.y]
        if self._at_once:
            said[0] = np.nan
        return said

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        said = np.full((len(x), 3), 1 / 3, np.float32)
        said[np.isnan(x).reshape(len(x), -1).mean(axis=1) > 0.2, 1] = np.nan
        return said

    def cost(self) -> Cost:
        return Cost(bytes=1, operations=1)


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return motion_set(tmp_path_factory.mktemp("motion") / "set", windows=240)


@pytest.fixture
def job(motion: Dataset, tmp_path: Path) -> Job:
    save_split(make_split(motion, recipe_named("held_out_host", 0)), split_path(tmp_path, "held_out_host"))
    channels = motion.schema.channel_ids
    return Job(architecture="gbt", threat_model="oracle", recipe="held_out_host", seed=0, quick=True, channels=channels)


@pytest.mark.parametrize("at_once", [True, False], ids=["of the sides", "when a source has failed"])
def test_a_model_that_gives_no_numbers_is_refused_by_the_evaluation(
    motion: Dataset, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    monkeypatch.setattr(answers, "model_of", lambda *_: Silent(at_once=at_once))
    with pytest.raises(DivergedError, match=r"model held_out_host/gbt-oracle/full-0: probabilities that are not numb"):
        answers_of(job, 0, motion.path, tmp_path)


def test_a_trial_that_gives_no_numbers_is_never_the_best(
    motion: Dataset, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fitted:
        model, fault = Silent(at_once=True), None

    pytest.importorskip("optuna")
    monkeypatch.setattr(study, "fit", lambda *_: Fitted())
    search = Search(trials=1, max_bytes=10, max_operations=10)
    with pytest.raises(ConfigError, match=r"tuning gbt-oracle: none of 1 settings within 10 bytes"):
        study.run_study(job, search, motion.path, tmp_path)


def bundle_with(counts: dict[str, tuple[int, ...]], folder: Path, schema: FeatureSchema, key: Path) -> Bundle:
    folder.mkdir()
    bundle = read_bundle(make_bundle(folder, schema, key), schema=schema, trust=load_trusted_keys(key.parent))
    decided = msgspec.json.encode(HeldOut(classes=PHASES, episodes=counts))
    return msgspec.structs.replace(bundle, members={**bundle.members, MEMBER: decided})


def test_diff_names_the_classes_that_were_never_tested(
    tmp_path: Path, schema: FeatureSchema, signing_key: Path
) -> None:
    counts = np.zeros((5, 5), int)
    counts[0, 0], counts[1, 1], counts[1, 4] = 3, 2, 1  # dormant was decided, and never true
    bundle = bundle_with({"e": tuple(counts.ravel().tolist())}, tmp_path / "some", schema, signing_key)
    found = differ(bundle, bundle)
    assert found.untested_classes == ["infecting", "infected_running", "dormant"]
    assert found.per_class.keys() == {"clean", "armed"}
    assert "classes that were never tested: infecting, infected_running, dormant" in list(in_words(found))
    every = bundle_with({"e": tuple(np.eye(5, dtype=int).ravel().tolist())}, tmp_path / "all", schema, signing_key)
    assert differ(every, every).untested_classes == []
    assert not [line for line in in_words(differ(every, every)) if "never tested" in line]


def test_a_split_names_the_classes_that_its_test_side_lacks(motion: Dataset) -> None:
    split: Split = make_split(motion, recipe_named("held_out_host", 0))
    assert split.untested_classes == ()
    side = split.sides["test"]
    lacks = msgspec.structs.replace(side, phases={**side.phases, "sitting": 0})
    split = msgspec.structs.replace(split, sides={**split.sides, "test": lacks})
    assert split.untested_classes == ("sitting",)
