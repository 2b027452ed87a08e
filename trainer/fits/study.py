"""One search for settings: its trials follow one another, each a whole fit.

Optuna's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011; Akiba et al., KDD 2019). Trials are kept in a
journal, so that a search that was stopped goes on; each trial's proposal is seeded by its number, so that it goes on as
it would have.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from contracts.errors import ConfigError
from contracts.files import sha256
from edge import scores
from trainer.architectures.named import architecture_named
from trainer.dataset.open import open_dataset
from trainer.dataset.side import side_of
from trainer.fits.fit_one import fit, stamp_of
from trainer.fits.job import Job, split_path
from trainer.fits.plan import Search
from trainer.seeds import derived
from trainer.split import load_split
from trainer.versions import TUNING, code_digest


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """What a search found. validation: its macro F1 there; default: what the defaults reach."""

    settings: dict[str, float]
    validation: float
    default: float
    trials: int
    too_costly: int


def run_study(job: Job, search: Search, dataset: Path, out: Path) -> Tuned:
    """Try settings for one model. Every trial is a whole fit; the test side is not looked at."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    opened = open_dataset(dataset)
    split = load_split(split_path(out, job.recipe), opened.digest)
    architecture = architecture_named(job.architecture)
    validation = side_of(opened, architecture.view, job.channels, split.validation)
    (out / "tuning").mkdir(parents=True, exist_ok=True)
    # trials are of use to no search of other data, by other code, or within other bounds
    asked = (stamp_of(job, opened, split), code_digest(*TUNING), search.max_bytes, search.max_operations)
    digest = sha256(msgspec.json.encode(asked, order="sorted"))[:12]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = JournalStorage(JournalFileBackend(str(out / "tuning" / f"{job.study}.journal")))

        def study_for(number: int) -> Any:
            sampler = optuna.samplers.TPESampler(seed=derived(job.seed, number), constraints_func=_over)
            return optuna.create_study(
                study_name=f"{job.title} {digest}",
                storage=storage,
                direction="maximize",
                sampler=sampler,
                load_if_exists=True,
            )

        def attempt(trial: Any) -> float:
            settings = {}
            for knob in architecture.knobs:
                if knob.whole:
                    value = trial.suggest_int(knob.name, int(knob.low), int(knob.high), log=knob.log)
                else:
                    value = trial.suggest_float(knob.name, knob.low, knob.high, log=knob.log)
                settings[knob.name] = float(value)
            fitted = fit(msgspec.structs.replace(job, settings=settings), opened, split, None)
            if fitted.model is None or fitted.fault is not None:
                trial.set_user_attr("over", [1.0, 1.0])
                return 0.0
            said = fitted.model.predict_side(validation)
            if not np.isfinite(said).all():  # its score would be of the windows that it answers
                trial.set_user_attr("over", [1.0, 1.0])
                return 0.0
            cost = fitted.model.cost()
            over = [cost.bytes / search.max_bytes - 1, cost.operations / search.max_operations - 1]
            trial.set_user_attr("over", over)
            return scores.macro_f1_of(validation.y, scores.choices(said), len(opened.classes))

        study, defaults = study_for(0), architecture.resolved({}, quick=job.quick)
        if not any(trial.params == defaults for trial in _finished(study)):
            study.enqueue_trial(defaults)
        while len(_finished(study)) < search.trials:
            study_for(len(_finished(study))).optimize(attempt, n_trials=1)
    done = _finished(study)
    allowed = [trial for trial in done if max(_over(trial)) <= 0]
    if not allowed:
        raise ConfigError(
            f"tuning {job.title}",
            f"none of {len(done)} settings within {search.max_bytes} bytes and {search.max_operations} operations",
            expected="one at least",
            remedy="allow more, or try more",
        )
    best = max(allowed, key=lambda trial: (trial.value, -trial.number))
    return Tuned(
        settings={name: float(value) for name, value in best.params.items()},
        validation=best.value,
        default=next(trial.value for trial in done if trial.params == defaults),
        trials=len(done),
        too_costly=len(done) - len(allowed),
    )


def _finished(study: Any) -> list[Any]:
    return [trial for trial in study.trials if trial.value is not None]


def _over(trial: Any) -> list[float]:
    """How far a trial is over its budgets, as shares; none is above 0 if it keeps them."""
    found: list[float] = trial.user_attrs["over"]
    return found
