"""What our loops cost beside the libraries' own: the same model, data, epochs and stopping, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from contracts.features.channels import view_of
from trainer.architectures.architecture import FitSettings
from trainer.architectures.gbt import PATIENCE, ROUNDS, Gbt
from trainer.architectures.inputs import Normal
from trainer.architectures.net import Net
from trainer.architectures.training.loop import Loop, compiled, fit_net
from trainer.dataset.open import open_dataset
from trainer.dataset.side import Side, side_of
from trainer.fits.job import split_path
from trainer.split import load_split

EPOCHS = 10
"""So few that nothing is stopped early: as many for one as for the other."""
REPEATS = 3


def best_of(*works: Callable[[], object]) -> list[float]:
    """Seconds of each work, the least of a few turns in which they take turns."""
    took = [[0.0] * REPEATS for _ in works]
    for turn in range(REPEATS):
        for i, work in enumerate(works):
            began = time.perf_counter()
            work()
            took[i][turn] = time.perf_counter() - began
    return [min(one) for one in took]


def sides_of(out: Path, net: bool) -> tuple[Side, Side]:
    """Train and validation of the bench's build, realistic."""
    dataset = open_dataset(out / "dataset")
    split = load_split(split_path(out, "held_out_host"), dataset.digest)
    channels = view_of(dataset.schema.channels, "realistic")
    train, validation = (
        side_of(dataset, "tensor" if net else "summary", channels, some) for some in (split.train, split.validation)
    )
    return train, validation


def bench_loop(out: Path) -> None:
    """`fit_net` against a bare `model.fit` with arrays: the same net, batches, epochs and validation."""
    import keras

    from trainer.architectures.cnn import Cnn
    from trainer.architectures.gru import Gru

    train, validation = sides_of(out, net=True)
    loop = Loop(seed=0, quick=True, rate=2e-3, decay=1e-3, keep=None, progress=lambda *_: None)
    eye = np.eye(len(train.classes), dtype=np.float32)
    architectures: tuple[Net, ...] = (Cnn(), Gru())
    for architecture in architectures:
        normal = Normal.of(train.parts())

        def net(architecture: Net = architecture, normal: Normal = normal) -> keras.Model:
            return architecture.build(train.shape, len(train.classes), normal, architecture.resolved({}, quick=False))

        def ours() -> None:
            fit_net(net(), train, validation, loop)

        def bare() -> None:
            keras.utils.set_random_seed(0)
            model = net()
            batches, epochs, rate = compiled(model, train, loop)
            model.fit(
                train.windows,
                eye[train.y],
                sample_weight=batches.weight_of[train.y],
                validation_data=(validation.windows, eye[validation.y]),
                validation_batch_size=512,
                epochs=epochs,
                batch_size=batches.size,
                callbacks=[rate],
                verbose=0,
            )

        ours()  # whatever is traced and cached at first is not measured
        mine, theirs = best_of(ours, bare)
        print(f"loop, {architecture.name}, {EPOCHS} epochs: {mine:.2f} s; model.fit: {theirs:.2f} s; "
              f"ratio {mine / theirs:.3f}", flush=True)  # fmt: skip


def bench_trees(out: Path) -> None:
    """`Gbt.fit` against `xgboost.train` with its own early stopping on the same matrices' data."""
    import xgboost as xgb

    train, validation = sides_of(out, net=False)
    settings = FitSettings(seed=0, quick=False)

    def ours() -> None:
        Gbt().fit(train, validation, settings)

    def bare() -> None:
        learned, held = (
            xgb.DMatrix(side.windows, side.y, weight=side.class_weights[side.y]) for side in (train, validation)
        )
        xgb.train(
            Gbt().parameters(settings, len(train.classes), len(train)),
            learned,
            num_boost_round=ROUNDS,
            evals=[(learned, "train"), (held, "validation")],
            early_stopping_rounds=PATIENCE,
            verbose_eval=False,
        )

    rounds = len(Gbt().fit(train, validation, settings).curves.loss)
    mine, theirs = best_of(ours, bare)
    print(f"gbt, {rounds} rounds: {mine:.3f} s; xgboost.train: {theirs:.3f} s; ratio {mine / theirs:.3f}", flush=True)


def bench_fits(out: Path) -> None:
    """Both."""
    from trainer.architectures.training import loop as loops

    loops.EPOCHS_QUICK = EPOCHS
    bench_loop(out)
    bench_trees(out)
