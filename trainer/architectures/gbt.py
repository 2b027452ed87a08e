"""Gradient-boosted trees on summaries (Chen and Guestrin, XGBoost, KDD 2016). NaN is a value to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from contracts.errors import DatasetError
from contracts.phases import PHASES
from trainer.architectures.base import Architecture, FitSettings, Model, class_weights
from trainer.corpus.samples import Samples

# A fixed number of threads: sums over threads round by their number, and the same seed shall give the same model.
THREADS = 2


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
        self.booster.save_model(folder / "model.ubj")


class Gbt(Architecture):
    """Many shallow trees, slowly; early stopping on the validation side's multi-class log loss."""

    name = "gbt"
    view = "summary"
    version = 1

    def fit(self, train: Samples, validation: Samples, settings: FitSettings) -> Model:
        """Fit with XGBoost's own loop and early stopping."""
        rounds = 150 if settings.quick else 600
        parameters = {
            "objective": "multi:softprob",
            "num_class": len(PHASES),
            "eval_metric": "mlogloss",
            "tree_method": "hist",
            "learning_rate": 0.1 if settings.quick else 0.05,
            "max_depth": 4,
            "min_child_weight": 2.0,
            "subsample": 0.8,
            "colsample_bytree": 0.5,
            "reg_lambda": 2.0,
            "seed": settings.seed,
            "nthread": THREADS,
        }

        class Report(xgb.callback.TrainingCallback):  # type: ignore[misc]  # xgboost has no types
            def after_iteration(self, _model: object, epoch: int, evals_log: Any) -> bool:
                loss = evals_log["validation"]["mlogloss"][-1]
                settings.progress(epoch + 1, rounds, f"validation log loss {loss:.3f}")
                return False

        booster = xgb.train(
            parameters,
            xgb.DMatrix(train.x, train.y, weight=class_weights(train.y)),
            num_boost_round=rounds,
            evals=[(xgb.DMatrix(validation.x, validation.y, weight=class_weights(validation.y)), "validation")],
            early_stopping_rounds=30 if settings.quick else 60,
            callbacks=[Report()],
            verbose_eval=False,
        )
        return GbtModel(booster[: booster.best_iteration + 1])

    def load(self, folder: Path) -> Model:
        """Read the booster back."""
        path = folder / "model.ubj"
        try:
            return GbtModel(xgb.Booster({"nthread": THREADS}, model_file=path))
        except (xgb.core.XGBoostError, ValueError) as error:
            found = str(error).splitlines()[0]
            raise DatasetError(path, f"unreadable ({found})", expected="a booster", remedy="fit it again") from None
