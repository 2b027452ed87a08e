"""Gradient-boosted trees on summaries (Chen and Guestrin, XGBoost, KDD 2016). NaN is a value to them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import msgspec
import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from contracts.errors import DatasetError, MissingError
from contracts.files import read_file, write_file
from trainer.architectures.architecture import (
    Architecture,
    Cost,
    FitSettings,
    Fitted,
    Knob,
    Model,
    Settings,
    require_learnable,
)
from trainer.curves import Curves
from trainer.dataset.lazy import LazyWindows
from trainer.dataset.side import Side

THREADS, MANY_THREADS, MANY_WINDOWS = 1, 4, 20_000
"""Sums over threads round by their number, so it depends on the data, not on the machine: the same seed must give the
same model. Small fits run beside each other, one thread each, since threads that wait for a core cost most of it."""
ROUNDS, ROUNDS_QUICK = 600, 150
PATIENCE, PATIENCE_QUICK = 60, 30
SEGMENT = 100
"""Rounds between two states on disk: a killed fit goes on from the last, and ends with the same trees."""
NODE_BYTES = 32
"""About what a node takes in a native library (measured: docs/adr/0013)."""


@final
class GbtModel(Model):
    """A booster, cut to its best round: what Treelite compiles is what was measured."""

    def __init__(self, booster: xgb.Booster) -> None:
        self.booster = booster

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, F) -> (N, K)."""
        probabilities: NDArray[np.float32] = self.booster.inplace_predict(x)
        return probabilities

    def save(self, folder: Path) -> None:
        """UBJSON, XGBoost's own format."""
        (folder / "model.ubj").write_bytes(self.booster.save_raw("ubj"))

    def cost(self) -> Cost:
        """By nodes; a window is compared once a level in every tree."""
        trees = json.loads(self.booster.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]
        nodes = sum(len(tree["left_children"]) for tree in trees)
        deepest = sum(max(1, int(np.ceil(np.log2(len(tree["left_children"]) + 1)))) for tree in trees)
        return Cost(bytes=NODE_BYTES * nodes, operations=deepest)


@final
class Gbt(Architecture):
    """Many shallow trees, slowly; early stopping on the validation side's multi-class log loss."""

    name = "gbt"
    view = "summary"
    version = 3
    knobs = (
        Knob(name="rate", default=0.05, quick=0.1, low=0.02, high=0.3, log=True),
        Knob(name="depth", default=4, low=2, high=6, whole=True),
        Knob(name="child_weight", default=2.0, low=0.5, high=16.0, log=True),
        Knob(name="rows", default=0.8, low=0.4, high=1.0),
        Knob(name="columns", default=0.5, low=0.1, high=1.0),
        Knob(name="ridge", default=2.0, low=0.1, high=20.0, log=True),
    )

    def fit(self, train: Side, validation: Side, settings: FitSettings) -> Fitted:
        """XGBoost's own loop and early stopping, in segments that a killed fit can go on from."""
        require_learnable(train, validation)
        rounds = ROUNDS_QUICK if settings.quick else ROUNDS
        parameters = self.parameters(settings, len(train.classes), len(train))
        stopper = xgb.callback.EarlyStopping(rounds=PATIENCE_QUICK if settings.quick else PATIENCE)
        state = _State(settings.keep)

        def grow(cache: Path) -> None:
            learned = matrix_of(train, cache / "train")
            evals = [(learned, "train"), (matrix_of(validation, cache / "validation", learned), "validation")]
            while not state.over(rounds, stopper):
                done = len(state.losses["validation"])
                found: dict[str, dict[str, list[float]]] = {}
                booster = xgb.train(
                    {**parameters, "seed": (settings.seed + done) % 2**32},
                    learned,
                    num_boost_round=min(SEGMENT, rounds - done),
                    evals=evals,
                    callbacks=[stopper, _told(settings.progress, done, rounds)],
                    evals_result=found,
                    verbose_eval=False,
                    xgb_model=state.booster,
                )
                state.add(booster, found)

        with tempfile.TemporaryDirectory(prefix="phasewatch-") as cache:
            grow(Path(cache))  # whose matrices are gone before their files are
        booster = state.booster
        assert booster is not None
        best = int(np.argmin(state.losses["validation"]))
        curves = Curves(unit="round", loss=state.losses["train"], validation_loss=state.losses["validation"],
                        validation_f1=[], best=best)  # fmt: skip
        state.forget()
        return Fitted(GbtModel(booster[: best + 1]), curves)

    def parameters(self, settings: FitSettings, classes: int, windows: int) -> dict[str, Any]:
        """XGBoost's own names."""
        chosen: Settings = self.resolved(settings.settings, quick=settings.quick)
        return {
            "objective": "multi:softprob",
            "num_class": classes,
            "eval_metric": "mlogloss",
            "tree_method": "hist",
            "learning_rate": chosen["rate"],
            "max_depth": int(chosen["depth"]),
            "min_child_weight": chosen["child_weight"],
            "subsample": chosen["rows"],
            "colsample_bytree": chosen["columns"],
            "reg_lambda": chosen["ridge"],
            "seed": settings.seed,
            "nthread": MANY_THREADS if windows > MANY_WINDOWS else THREADS,
        }

    def load(self, folder: Path) -> Model:
        """Read the booster back."""
        path = folder / "model.ubj"
        try:
            return GbtModel(xgb.Booster({"nthread": THREADS}, model_file=bytearray(path.read_bytes())))
        except (xgb.core.XGBoostError, ValueError) as error:
            found = str(error).splitlines()[0]
            raise DatasetError(path, f"unreadable ({found})", expected="a booster", remedy="fit it again") from None


def matrix_of(side: Side, cache: Path, reference: xgb.DMatrix | None = None) -> xgb.DMatrix:
    """A side as XGBoost takes it; one that is not in memory goes through its external memory, cached on disk."""
    if not isinstance(side.windows, LazyWindows):
        return xgb.DMatrix(side.windows, side.y, weight=side.class_weights[side.y])
    cache.parent.mkdir(parents=True, exist_ok=True)
    return xgb.ExtMemQuantileDMatrix(_Parts(side, cache), ref=reference)


class _Parts(xgb.DataIter):  # type: ignore[misc]  # xgboost has no types
    """A side's windows, part by part, as often as XGBoost wants them."""

    def __init__(self, side: Side, cache: Path) -> None:
        self._side, self._weights = side, side.class_weights[side.y]
        super().__init__(cache_prefix=str(cache), release_data=False)
        self.reset()

    def next(self, input_data: Callable[..., None]) -> bool:
        """Hand out the next part."""
        x = next(self._parts, None)
        if x is None:
            return False
        at = slice(self._done, self._done + len(x))
        input_data(data=x, label=self._side.y[at], weight=self._weights[at])
        self._done += len(x)
        return True

    def reset(self) -> None:
        """From the start."""
        self._parts, self._done = self._side.parts(), 0


def _told(progress: Callable[[int, int, str], None], before: int, rounds: int) -> xgb.callback.TrainingCallback:
    class Told(xgb.callback.TrainingCallback):  # type: ignore[misc]  # xgboost has no types
        def after_iteration(self, _model: object, epoch: int, evals_log: Any) -> bool:
            loss = evals_log["validation"]["mlogloss"][-1]
            progress(before + epoch + 1, rounds, f"validation log loss {loss:.3f}")
            return False

    return Told()


class _Losses(msgspec.Struct):
    train: list[float]
    validation: list[float]


class _State:
    """The trees so far and their losses, on disk after every segment but the last."""

    def __init__(self, folder: Path | None) -> None:
        self._trees = None if folder is None else folder / "fit-state.ubj"
        self.booster: xgb.Booster | None = None
        self.losses: dict[str, list[float]] = {"train": [], "validation": []}
        if self._trees is None:
            return
        try:
            data = read_file(self._trees)
            losses = msgspec.json.decode(read_file(self._trees.with_suffix(".json")), type=_Losses)
            booster = xgb.Booster({"nthread": THREADS}, model_file=bytearray(data))
        except (MissingError, msgspec.DecodeError, xgb.core.XGBoostError, ValueError):
            return  # none, or a torn one: the fit begins anew
        if booster.num_boosted_rounds() == len(losses.train) == len(losses.validation):
            self.booster, self.losses = booster, msgspec.structs.asdict(losses)

    def over(self, rounds: int, stopper: xgb.callback.EarlyStopping) -> bool:
        """Whether all is done; if not, `stopper` knows what it would know had it watched from the start."""
        history = self.losses["validation"]
        if history:
            best = int(np.argmin(history))
            stopper.stopping_history = {"validation": {"mlogloss": list(history)}}
            stopper.best_scores = {"validation": {"mlogloss": [history[best]]}}
            stopper.current_rounds = len(history) - 1 - best
        return len(history) >= rounds or bool(stopper.current_rounds >= stopper.rounds)

    def add(self, booster: xgb.Booster, found: dict[str, dict[str, list[float]]]) -> None:
        """One more segment. Raises `StorageError`."""
        self.booster = booster
        for side, losses in self.losses.items():
            losses += found[side]["mlogloss"]
        if self._trees is not None:
            write_file(self._trees.with_suffix(".json"), msgspec.json.encode(_Losses(**self.losses)))
            write_file(self._trees, bytes(booster.save_raw("ubj")))

    def forget(self) -> None:
        """The fit is over."""
        if self._trees is not None:
            self._trees.unlink(missing_ok=True)
            self._trees.with_suffix(".json").unlink(missing_ok=True)
