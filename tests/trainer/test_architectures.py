"""The conformance suite: every architecture passes the same checks."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.errors import ConfigError, DatasetError
from contracts.vocabulary import ThreatModel
from tests.trainer.sets import CHANCE, CHANNELS, CLASSES, LEARNED, motion_set
from tests.trainer.test_seeds import LARGEST
from trainer.architectures.architecture import Architecture, FitSettings, Fitted, Model
from trainer.architectures.gbt import Gbt
from trainer.architectures.inputs import Normal
from trainer.architectures.named import architecture_named
from trainer.architectures.names import NAMES
from trainer.architectures.net import Net, NetModel
from trainer.architectures.training.seeded import seeded
from trainer.dataset.dataset import Dataset
from trainer.dataset.samples import Samples
from trainer.dataset.side import Side, side_of

Floats = NDArray[np.float32]
IDS = tuple(channel.id for channel in CHANNELS)
SETTINGS = FitSettings(seed=3, quick=True)

ARCHITECTURES = tuple(map(architecture_named, NAMES))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """Fits of a few seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.architectures.training.loop.EPOCHS_QUICK", 12)
        yield


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return motion_set(tmp_path_factory.mktemp("motion") / "set", windows=180)


def sides(dataset: Dataset, architecture: Architecture) -> tuple[Side, Side, Side]:
    """Train, validation and test by people."""
    people = [f"walk-{i}" for i in range(12)]
    groups = people[:7], people[7:9], people[9:]
    train, validation, test = (side_of(dataset, architecture.view, IDS, group) for group in groups)
    return train, validation, test


@pytest.fixture(scope="module", params=ARCHITECTURES, ids=lambda a: a.name)
def case(request: pytest.FixtureRequest, motion: Dataset) -> tuple[Architecture, Fitted, Side]:
    """An architecture, what it made, and the side it never saw."""
    architecture: Architecture = request.param
    train, validation, test = sides(motion, architecture)
    return architecture, architecture.fit(train, validation, SETTINGS), test


def model_of(case: tuple[Architecture, Fitted, Side]) -> Model:
    assert case[1].model is not None
    assert case[1].fault is None
    return case[1].model


def with_windows(side: Side, x: Floats) -> Side:
    return Side(side.ids, side.classes, x)


def test_model_gives_probabilities_of_the_datasets_own_classes(case: tuple[Architecture, Fitted, Side]) -> None:
    p = model_of(case).predict_side(case[2])
    assert p.shape == (len(case[2]), len(CLASSES))
    assert p.dtype == np.float32
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)


def test_model_learns_what_can_be_learned(case: tuple[Architecture, Fitted, Side]) -> None:
    right = model_of(case).predict_side(case[2]).argmax(axis=1) == case[2].y
    assert right.mean() > LEARNED


def test_predict_is_pure_and_looks_at_each_window_alone(case: tuple[Architecture, Fitted, Side]) -> None:
    model, x = model_of(case), case[2].at(np.arange(20))
    kept = x.copy()
    whole = model.predict(x)
    np.testing.assert_allclose(model.predict(x[::-1])[::-1], whole, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([model.predict(x[i : i + 1]) for i in range(20)]), whole, atol=1e-6)
    np.testing.assert_array_equal(x, kept)
    assert len(model.predict(x[:0])) == 0


def test_the_same_seed_gives_the_same_model_and_another_seed_another(
    case: tuple[Architecture, Fitted, Side], motion: Dataset
) -> None:
    architecture, fitted, test = case
    train, validation, _ = sides(motion, architecture)
    again, other = (  # the other one is the largest that there is
        architecture.fit(train, validation, FitSettings(seed=seed, quick=True)) for seed in (3, LARGEST)
    )
    assert fitted.curves == again.curves != other.curves
    assert again.model is not None
    assert other.model is not None
    first = model_of(case).predict_side(test)
    np.testing.assert_array_equal(first, again.model.predict_side(test))
    assert not np.array_equal(first, other.model.predict_side(test))


def test_model_comes_back_from_its_folder_as_it_was(case: tuple[Architecture, Fitted, Side], tmp_path: Path) -> None:
    model = model_of(case)
    model.save(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".pkl", ".pickle", ".h5", ".keras")]
    again = case[0].load(tmp_path)
    np.testing.assert_array_equal(again.predict_side(case[2]), model.predict_side(case[2]))
    assert again.cost() == model.cost()


@pytest.mark.parametrize("missing", ["some", "a channel", "a source", "everything"])
def test_predict_bears_what_was_not_observed(case: tuple[Architecture, Fitted, Side], missing: str) -> None:
    x = case[2].at(np.arange(len(case[2]))).copy()
    width = x.shape[1] // len(IDS)
    if missing == "some":
        x[np.random.default_rng(0).random(x.shape) < 0.3] = np.nan
    else:
        x[:, : {"a channel": 1, "a source": 2, "everything": 4}[missing] * width] = np.nan
    p = model_of(case).predict(x)
    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    if missing in ("some", "a channel"):
        assert (p.argmax(axis=1) == case[2].y).mean() > CHANCE


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.name)
def test_fit_bears_channels_that_say_nothing(architecture: Architecture, motion: Dataset) -> None:
    """One is huge, one was never observed and one is constant; the fourth can be learned from."""

    def spoil(side: Side) -> Side:
        x = side.at(np.arange(len(side))).copy()
        width = x.shape[1] // len(IDS)
        x[:, :width] = 3e38
        x[:, width : 2 * width] = np.nan
        x[:, 2 * width : 3 * width] = 7.0
        return with_windows(side, x)

    train, validation, test = map(spoil, sides(motion, architecture))
    model = architecture.fit(train, validation, SETTINGS).model
    assert model is not None
    p = model.predict_side(test)
    assert np.isfinite(p).all()
    assert (p.argmax(axis=1) == test.y).mean() > LEARNED


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.name)
def test_fit_bears_batches_of_a_single_class(
    architecture: Architecture, motion: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nearly all windows are of one class, so that most batches hold no other."""
    monkeypatch.setattr("trainer.architectures.training.loop.EPOCHS_QUICK", 4)

    def lopsided(side: Side) -> Side:
        rare = np.concatenate([np.flatnonzero(side.y == label)[:2] for label in (1, 2)])
        at = np.sort(np.concatenate([np.flatnonzero(side.y == 0), rare]))
        names = ("purity", "centre_ns", "episode_id", "host_id", "profile", "sample_name")
        columns = (getattr(side.ids, name)[at] for name in names)
        return Side(Samples(side.ids.x[at], side.y[at], (), *columns), side.classes, side.at(at))

    train, validation, _ = map(lopsided, sides(motion, architecture))
    model = architecture.fit(train, validation, SETTINGS).model
    assert model is not None
    assert np.isfinite(model.predict_side(validation)).all()


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.name)
@pytest.mark.parametrize("name", ["train", "validation"])
def test_fit_refuses_a_side_that_lacks_a_class(architecture: Architecture, name: str, motion: Dataset) -> None:
    some = dict(zip(("train", "validation", "test"), sides(motion, architecture), strict=True))
    at = np.flatnonzero(some[name].y != 1)
    columns = (getattr(some[name].ids, column)[at] for column in Samples.__dataclass_fields__ if column != "names")
    x, y, *rest = columns
    some[name] = Side(Samples(x, y, (), *rest), CLASSES, some[name].at(at))
    with pytest.raises(DatasetError, match=rf"{name}: no window of sitting; expected some of each class: walking, "):
        architecture.fit(some["train"], some["validation"], SETTINGS)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.name)
def test_settings_are_taken_within_their_bounds_and_refused_outside(architecture: Architecture) -> None:
    defaults = architecture.resolved({}, quick=False)
    assert defaults.keys() == {knob.name for knob in architecture.knobs}
    assert all(knob.low <= knob.default <= knob.high for knob in architecture.knobs)
    other = 0.005 if architecture.name != "gbt" else 0.2
    assert architecture.resolved({"rate": other}, quick=False)["rate"] == other != defaults["rate"]
    with pytest.raises(ConfigError, match=rf"{architecture.name}: setting rate = 99; expected rate .*; correct it"):
        architecture.resolved({"rate": 99}, quick=False)
    with pytest.raises(ConfigError, match="setting colour = 1"):
        architecture.resolved({"colour": 1}, quick=False)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.name)
@pytest.mark.parametrize("quick", [False, True], ids=["full", "quick"])
def test_naming_a_default_changes_nothing(architecture: Architecture, quick: bool) -> None:
    """What a model says of itself is what it was fitted with."""
    defaults = architecture.resolved({}, quick=quick)
    assert architecture.resolved(defaults, quick=quick) == defaults
    if isinstance(architecture, Gbt):
        parameters = [
            architecture.parameters(FitSettings(seed=0, quick=quick, settings=given), 5, 100)
            for given in ({}, {"rate": defaults["rate"]}, defaults)
        ]
        assert parameters[0] == parameters[1] == parameters[2]
        assert parameters[0]["learning_rate"] == defaults["rate"]


def test_cost_grows_with_the_model(case: tuple[Architecture, Fitted, Side], motion: Dataset) -> None:
    architecture = case[0]
    train, validation, _ = sides(motion, architecture)
    model: Model | None
    if isinstance(architecture, Net):  # what it costs does not depend on what it has learned
        settings = architecture.resolved({"width": 16}, quick=True)
        net = architecture.build(train.shape, len(train.classes), Normal.of(train.parts()), settings)
        model = NetModel(net, settings)
    else:
        model = architecture.fit(train, validation, FitSettings(seed=3, quick=True, settings={"depth": 2})).model
    assert model is not None
    whole = model_of(case).cost()
    assert 0 < model.cost().operations < whole.operations
    assert model.cost().bytes > 0


def test_every_architecture_is_listed_once_by_its_own_name() -> None:
    assert tuple(architecture.name for architecture in ARCHITECTURES) == NAMES
    with pytest.raises(ConfigError, match=r"no architecture 'svm'; expected some of gbt, mlp, .*; name those"):
        architecture_named("svm")


def test_the_realistic_view_is_without_the_guest() -> None:
    from contracts.features.channels import view_of

    models: tuple[ThreatModel, ...] = ("realistic", "oracle")
    assert [len(view_of(CHANNELS, model)) for model in models] == [3, 4]


def test_a_net_is_the_same_though_another_thread_draws_from_pythons_generator() -> None:
    """As the thread of a Dask worker does that talks to its scheduler."""

    def weights() -> list[Floats]:
        with seeded(3):
            net = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(4) for _ in range(20))])
        return [np.asarray(weight) for weight in net.get_weights()]

    alone, stop = weights(), threading.Event()

    def draws() -> None:
        while not stop.is_set():
            random.random()

    thread = threading.Thread(target=draws)
    thread.start()
    try:
        beside = weights()
    finally:
        stop.set()
        thread.join()
    for one, other in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(one, other)
