"""The loop: it goes on where it was killed, to the same weights, stops when numbers end, and loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import mixed_precision

from contracts.errors import DatasetError
from tests.trainer.sets import CHANCE, CHANNELS, LEARNED, motion_set, sides
from trainer.architectures.architecture import FitSettings, Fitted
from trainer.architectures.inputs import Normal
from trainer.architectures.named import architecture_named
from trainer.architectures.net import NetModel
from trainer.architectures.training import loop as loops
from trainer.architectures.training import state
from trainer.architectures.training.batches import Batches, batch_size
from trainer.architectures.training.guard import first_layer_out_of_numbers
from trainer.curves import Curves
from trainer.dataset.dataset import Dataset
from trainer.dataset.lazy import LazyWindows
from trainer.dataset.side import side_of
from trainer.fits.job import STEADY
from trainer.fits.record import plan_jobs

IDS = tuple(channel.id for channel in CHANNELS)
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


class _StoppedError(Exception):
    """A kill, as far as the loop can tell."""


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loops, "EPOCHS_QUICK", 8)
        patch.setattr("trainer.architectures.gbt.SEGMENT", 20)
        yield


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return motion_set(tmp_path_factory.mktemp("motion") / "set", windows=180)


def weights_of(fitted: Fitted, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    assert fitted.model is not None
    fitted.model.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["gbt", "mlp", "gru"])
def test_a_killed_fit_goes_on_and_ends_with_the_same_weights(
    name: str, motion: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = architecture_named(name)
    train, validation = sides(motion, architecture)
    monkeypatch.setattr(state, "EVERY_S", 0.0)
    whole = architecture.fit(train, validation, FitSettings(seed=1, quick=True))
    told: list[int] = []

    def kill(done: int, _of: int, _news: str) -> None:
        told.append(done)
        if len(told) == (45 if name == "gbt" else 5):
            raise _StoppedError

    keep = tmp_path / "keep"
    with pytest.raises(_StoppedError):
        architecture.fit(train, validation, FitSettings(seed=1, quick=True, keep=keep, progress=kill))
    assert list(keep.iterdir())
    later: list[int] = []
    settings = FitSettings(seed=1, quick=True, keep=keep, progress=lambda done, _of, _news: later.append(done))
    again = architecture.fit(train, validation, settings)
    assert later[0] == (41 if name == "gbt" else 6)  # not from the start
    assert weights_of(again, tmp_path / "again") == weights_of(whole, tmp_path / "whole")
    assert again.curves == whole.curves
    assert not list(keep.iterdir())


@pytest.mark.parametrize("spoil", [b"", b"PK\x03\x04 torn", b"{}"])
@pytest.mark.parametrize("name", ["gbt", "mlp"])
def test_a_torn_state_is_not_believed_and_the_fit_begins_anew(
    name: str, spoil: bytes, motion: Dataset, tmp_path: Path
) -> None:
    architecture = architecture_named(name)
    train, validation = sides(motion, architecture)
    for file in ("fit-state.npz", "fit-state.ubj", "fit-state.json"):
        (tmp_path / file).write_bytes(spoil)
    later: list[int] = []
    settings = FitSettings(seed=1, quick=True, keep=tmp_path, progress=lambda done, _of, _news: later.append(done))
    assert architecture.fit(train, validation, settings).model is not None
    assert later[0] == 1


def test_a_fit_process_that_is_killed_is_taken_up_by_the_next(motion: Dataset, tmp_path: Path) -> None:
    """The real thing: SIGKILL in the middle of `trainer fit`, then the same command again."""
    command = [sys.executable, "-m", "trainer.cli", "fit", str(motion.path), "--out", str(tmp_path / "out")]
    command += ["--architectures", "mlp", "--threat-models", "oracle", "--quick", "--workers", "1"]
    code = "import sys; from trainer.architectures.training import state; state.EVERY_S = 0.0"
    code += "; from trainer.cli import main; sys.exit(main())"
    with subprocess.Popen([sys.executable, "-c", code, *command[3:]], stderr=subprocess.DEVNULL) as first:
        deadline = time.monotonic() + 90
        while not list(tmp_path.glob("out/checkpoints/held_out_host/mlp-oracle/.full-0.*.fitting/fit-state.npz")):
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(first.pid, signal.SIGKILL)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    once = subprocess.run([*command[:-1], "1", "--out", str(tmp_path / "once")], capture_output=True, check=False)
    assert once.returncode == 0
    one, two = (
        (tmp_path / out / "checkpoints" / "held_out_host" / "mlp-oracle" / "full-0" / "weights.npz").read_bytes()
        for out in ("out", "once")
    )
    assert one == two
    assert not list(tmp_path.glob("out/checkpoints/**/.*.fitting"))


def test_batches_are_shuffled_by_seed_and_epoch_and_hold_every_window_once(motion: Dataset) -> None:
    train, _ = sides(motion, architecture_named("cnn"))
    weights = np.ones(3, np.float32)

    def order(seed: int, first: int, end: int) -> list[bytes]:
        batches = Batches(train, 8, seed, weights)
        return [w.tobytes() for x, _, _ in batches.epochs(first, end).as_numpy_iterator() for w in x]

    both = order(0, 0, 2)
    assert both[: len(train)] == order(0, 0, 1)
    assert both[len(train) :] == order(0, 1, 2)  # an epoch is the same wherever a fit begins
    assert both[: len(train)] != both[len(train) :]
    assert order(1, 0, 1) != order(0, 0, 1)
    assert sorted(both[: len(train)]) == sorted(w.tobytes() for x in train.parts() for w in x)
    batches = Batches(train, 8, 0, weights)
    some = [x for x, _, _ in batches.epochs(1, 2).as_numpy_iterator()]
    assert len(some) == len(batches)
    np.testing.assert_array_equal(batches.batch(1, 3), some[3])
    assert [batch_size(n) for n in (1, 30, 350, 7000, 10**7)] == [8, 8, 16, 256, 256]


@pytest.mark.parametrize("name", ["cnn", "mlp"])
def test_a_side_that_is_not_in_memory_holds_the_same_windows_and_fits(name: str, motion: Dataset) -> None:
    architecture = architecture_named(name)
    held, mapped = sides(motion, architecture), sides(motion, architecture, in_memory=0)
    for one, two in zip(held, mapped, strict=True):
        assert isinstance(two.windows, LazyWindows)
        assert one.shape == two.shape
        np.testing.assert_array_equal(np.concatenate(list(one.parts())), np.concatenate(list(two.parts())))
        rows = np.array([0, 3, 50])
        np.testing.assert_array_equal(one.at(rows), two.at(rows))
        np.testing.assert_array_equal(one.y, two.y)
    fitted = architecture.fit(*mapped, FitSettings(seed=0, quick=True))
    assert fitted.model is not None
    assert (fitted.model.predict_side(mapped[1]).argmax(axis=1) == mapped[1].y).mean() > LEARNED
    again = architecture.fit(*mapped, FitSettings(seed=0, quick=True))
    assert again.curves == fitted.curves


def test_trees_grow_from_external_memory(motion: Dataset) -> None:
    architecture = architecture_named("gbt")
    held, mapped = sides(motion, architecture), sides(motion, architecture, in_memory=0)
    model = architecture.fit(*mapped, FitSettings(seed=0, quick=True)).model
    assert model is not None
    whole = architecture.fit(*held, FitSettings(seed=0, quick=True)).model
    assert whole is not None
    decided, expected = (one.predict_side(held[1]).argmax(axis=1) for one in (model, whole))
    assert (decided == expected).mean() > LEARNED


def test_statistics_of_parts_are_those_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(3, 5, (300, 4, 20)).astype(np.float32)
    x[rng.random(x.shape) < 0.3] = np.nan
    x[:, 2], x[:, 3] = 7, np.nan
    found = Normal.of(x[at : at + 37] for at in range(0, 300, 37))
    np.testing.assert_allclose(found.mean[:2], np.nanmean(x[:, :2], axis=(0, 2)), rtol=1e-5)
    np.testing.assert_allclose(found.std[:2], np.nanstd(x[:, :2], axis=(0, 2)), rtol=1e-5)
    assert found.mean[2:].tolist() == [7, 0]
    assert found.std[2:].tolist() == [1, 1]


class _Breaks(keras.layers.Layer):  # type: ignore[misc]  # keras has no types
    """Gives numbers for so many calls in training, and then none."""

    def build(self, _shape: Any) -> None:
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            self.calls.assign_add(1.0)
        return x * keras.ops.where(self.calls > 40, float("nan"), 1.0)


def broken_net(width: int) -> keras.Model:
    given = keras.Input((width,))
    x = keras.layers.Dense(8, name="sound")(keras.ops.where(keras.ops.equal(given, given), given, 0.0))
    x = _Breaks(name="unsound")(x)
    return keras.Model(given, keras.layers.Dense(3, activation="softmax")(x), name="broken")


def test_a_loss_that_is_no_number_stops_the_fit_says_where_and_keeps_the_best(motion: Dataset) -> None:
    train, validation = sides(motion, architecture_named("mlp"))
    keras.utils.set_random_seed(0)
    net = broken_net(train.shape[0])
    loop = loops.Loop(seed=0, quick=True, rate=1e-3, decay=0, keep=None, progress=lambda *_: None)
    curves, fault = loops.fit_net(net, train, validation, loop)
    assert fault is not None
    assert str(fault).startswith("broken, epoch 3, batch ")
    assert "the loss is not a number" in str(fault)
    assert "expected numbers; look at the windows for extreme values, or lower the learning rate" in str(fault)
    assert len(curves.loss) == 2
    assert 0 <= curves.best <= 1
    assert all(np.isfinite(weight).all() for weight in net.get_weights())


def test_the_first_layer_without_numbers_is_named() -> None:
    net = broken_net(4)
    net.get_layer("unsound").calls.assign(99.0)
    assert first_layer_out_of_numbers(net, np.ones((2, 4), np.float32)) == "unsound"
    net.get_layer("unsound").calls.assign(0.0)
    assert first_layer_out_of_numbers(net, np.ones((2, 4), np.float32)) is None


def test_half_precision_computes_in_half_and_decides_in_whole(motion: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there is a GPU: said here of a machine that has none, so on a CPU."""
    monkeypatch.setattr(loops, "has_gpu", lambda: True)
    architecture = architecture_named("transformer")
    train, validation = sides(motion, architecture)
    model = architecture.fit(train, validation, FitSettings(seed=0, quick=True)).model
    assert isinstance(model, NetModel)
    assert model.net.get_layer("decision").compute_dtype == "float32"
    assert {layer.compute_dtype for layer in model.net.layers} == {"float16", "float32"}
    assert {str(weight.dtype) for weight in model.net.trainable_variables} == {"float32"}
    assert mixed_precision.dtype_policy().name == "float32"
    p = model.predict_side(validation)
    assert p.dtype == np.float32
    assert (p.argmax(axis=1) == validation.y).mean() > CHANCE


def test_a_fit_that_had_stopped_when_it_was_killed_does_not_go_on(
    motion: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between its last epoch and its checkpoint."""
    architecture = architecture_named("mlp")
    train, validation = sides(motion, architecture)
    monkeypatch.setattr(state, "EVERY_S", 0.0)
    monkeypatch.setattr(loops, "EPOCHS_QUICK", 60)
    monkeypatch.setattr(loops, "FEWEST", len(validation))
    monkeypatch.setattr(state.Keeper, "forget", lambda _self: None)
    settings = FitSettings(seed=1, quick=True, keep=tmp_path / "keep")
    whole = architecture.fit(train, validation, settings)
    assert whole.curves.best < len(whole.curves.loss) - 10  # stopped early
    again = architecture.fit(train, validation, settings)
    assert again.curves == whole.curves
    assert weights_of(again, tmp_path / "again") == weights_of(whole, tmp_path / "whole")


def test_a_fit_runs_to_its_end_where_too_few_windows_could_stop_it(
    motion: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = architecture_named("mlp")
    train, validation = sides(motion, architecture)
    monkeypatch.setattr(loops, "EPOCHS_QUICK", 24)

    def fitted(fewest: int) -> Curves:
        monkeypatch.setattr(loops, "FEWEST", fewest)
        return architecture.fit(train, validation, FitSettings(seed=1, quick=True)).curves

    stopped, whole = fitted(len(validation)), fitted(len(validation) + 1)
    worth = np.array(stopped.validation_f1) - 1e-4 * np.array(stopped.validation_loss)
    assert worth[stopped.best] == pytest.approx(worth.max(), abs=1e-6)
    assert len(stopped.loss) <= len(whole.loss) == 24
    assert whole.best == 23


def test_labels_that_are_no_class_are_refused(motion: Dataset) -> None:
    fewer = Dataset(motion.path, motion.schema, motion.classes[:2], motion.digest, motion.shards)
    with pytest.raises(DatasetError, match=r"label 2; expected 0 to 1: walking, sitting; leave those windows out"):
        side_of(fewer, "tensor", IDS, ["walk-0"])


@pytest.mark.parametrize("quick", [False, True])
def test_models_are_fitted_again_without_what_creeps_and_quick_ones_only_where_that_is_quick(
    dataset: Dataset, quick: bool
) -> None:
    jobs = plan_jobs(
        dataset, ("held_out_host",), ("gbt", "cnn"), ("realistic",), (0,), quick=quick,
        suspects={"held_out_host": frozenset({"proc.rss"})}, settings={},
    )  # fmt: skip
    steady = {job.architecture: job.channels for job in jobs if job.variant == STEADY}
    assert steady.keys() == ({"gbt"} if quick else {"gbt", "cnn"})
    assert all("proc.rss" not in channels and len(channels) == 35 for channels in steady.values())
