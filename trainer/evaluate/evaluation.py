"""Answers -> `evaluation.json`: every figure of the report, for every recipe that was fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.events.payloads import Interval
from edge import scores
from trainer.dataset.dataset import Dataset
from trainer.dataset.samples import Samples
from trainer.evaluate import leaks
from trainer.evaluate.alarms import alarms, curve
from trainer.evaluate.answers import Answers, Probabilities
from trainer.evaluate.breakdown import by_group, by_purity, per_class
from trainer.evaluate.calibration import abstention, calibration, chosen_threshold, fitted_temperature
from trainer.evaluate.detection import detection
from trainer.evaluate.familiarity import unfamiliarity
from trainer.evaluate.figures import Evaluation, ModelRecord, RecipeRecord, Worth
from trainer.evaluate.filtering import fitted_filter, speaks_of_infection
from trainer.evaluate.kept import save_evaluation
from trainer.evaluate.listening import listen, sure_of
from trainer.evaluate.paired import Duels
from trainer.evaluate.predictions import save_predictions
from trainer.evaluate.resampled import Resampled
from trainer.evaluate.worker import answer
from trainer.fits.job import STEADY, Job
from trainer.fits.record import WITHOUT, Fits, open_fitted
from trainer.split import Split
from trainer.versions import EVALUATION, code_digest, library_versions
from trainer.workers.engine import Engine
from trainer.workers.progress import say
from trainer.workers.run import run_all


@dataclass(frozen=True, kw_only=True)
class _Ground:
    """What all models of one recipe are judged on."""

    dataset: Dataset
    split: Split
    learned: Samples
    validation: Samples
    test: Samples
    resampled: Resampled

    @property
    def k(self) -> int:
        return len(self.dataset.classes)

    def confusions(self, p: Probabilities) -> NDArray[np.int64]:
        """(E, K, K) of decisions by the most probable class."""
        return self.resampled.confusions(self.test.y, scores.choices(p), self.k)

    def macro_f1(self, p: Probabilities) -> Interval:
        return self.resampled.interval(self.confusions(p), scores.macro_f1)


def evaluate(fits: Fits, out: Path, engine: Engine) -> Evaluation:
    """Judge all fitted models, and write `evaluation.json` and `predictions/` below `out`.

    Raises `MissingError`, `DatasetError`, `DigestError`, `SchemaMismatchError` where a model is not there or is
    another, `StorageError`, `WorkError`.
    """
    dataset, splits = open_fitted(fits, out)
    asked = answer(fits.seeds[0], dataset.path, out)
    answers = run_all("evaluate", asked, fits.jobs, engine, lambda _: "")
    ids = dataset.load_ids()
    recipes = [_of_recipe(fits, recipe, dataset, ids, splits[recipe], answers, out) for recipe in fits.recipes]
    evaluation = Evaluation(
        fits=fits.digest,
        command=fits.command,
        versions=library_versions(),
        code=code_digest(*EVALUATION),
        schema_hash=dataset.schema.hash,
        dataset_digest=dataset.digest,
        classes=list(dataset.classes),
        arrays=all(channel.kind == "given" for channel in dataset.schema.channels),
        timed=_timed(ids, dataset),
        episodes=len(set(ids.episode_id)),
        windows=len(dataset),
        left_out=fits.left_out,
        quick=fits.quick,
        seeds=list(fits.seeds),
        tuned=fits.tuned,
        replicates=len(Resampled(ids.of(splits[fits.recipes[0]].test).episode_id, 0).draws),
        recipes=recipes,
    )
    save_evaluation(evaluation, out)
    return evaluation


def _timed(ids: Samples, dataset: Dataset) -> bool:
    """Whether windows have times of their own; arrays without any are numbered from 0."""
    return bool(ids.centre_ns.min() != dataset.schema.window_ns // 2)


def _of_recipe(
    fits: Fits,
    recipe: str,
    dataset: Dataset,
    ids: Samples,
    split: Split,
    answers: Mapping[str, Answers],
    out: Path,
) -> RecipeRecord:
    test = ids.of(split.test)
    ground = _Ground(
        dataset=dataset,
        split=split,
        learned=ids.of(split.train),
        validation=ids.of(split.validation),
        test=test,
        resampled=Resampled(test.episode_id, fits.seeds[0]),
    )
    jobs = fits.wanted(recipe)
    duels = Duels({job.title: ground.confusions(answers[job.name].test) for job in jobs}, ground.resampled)
    models = [_model(fits, job, ground, answers) for job in jobs]
    models.sort(key=lambda model: (-model.macro_f1.value, model.title))
    for job in jobs:
        save_predictions(out / "predictions" / recipe / f"{job.title}.parquet", test, answers[job.name].test, dataset)
    say(f"evaluate {recipe}: leak check, unfamiliar windows")
    views = {job.threat_model: job.channels for job in jobs}
    return RecipeRecord(
        split=split,
        split_digest=split.digest,
        untested_classes=list(split.untested_classes),
        models=models,
        pairs=duels.pairs(),
        gaps=duels.gaps(),
        leaks=leaks.check(dataset, split, (models[0].title, models[0].macro_f1.value), ground.resampled, fits.seeds[0]),
        unfamiliar={
            name: unfamiliarity(dataset, split, channels, ground.resampled) for name, channels in views.items()
        },
    )


def _model(fits: Fits, job: Job, ground: _Ground, answers: Mapping[str, Answers]) -> ModelRecord:
    test, resampled, classes = ground.test, ground.resampled, ground.dataset.classes
    mine = answers[job.name]
    p, decided = mine.test, scores.choices(mine.test)
    confusions = ground.confusions(p)
    total = confusions.sum(axis=0)
    temperature = fitted_temperature(mine.validation, ground.validation.y)
    threshold = chosen_threshold(scores.calibrated(mine.validation, temperature))
    believed = scores.calibrated(p, temperature)
    sure = sure_of(believed, threshold, mine.blind[1])
    variants = {j.variant: answers[j.name] for j in fits.jobs if j.recipe == job.recipe and j.title == job.title}
    steady = variants.get(STEADY)
    held = scores.macro_f1_of(ground.validation.y, scores.choices(mine.validation), ground.k)
    return ModelRecord(
        title=job.title,
        architecture=job.architecture,
        threat_model=job.threat_model,
        settings=mine.settings,
        bytes=mine.cost.bytes,
        operations=mine.cost.operations,
        curves=mine.curves,
        validation_macro_f1=held,
        macro_f1=resampled.interval(confusions, scores.macro_f1),
        by_seed={
            str(j.seed): float(scores.macro_f1(ground.confusions(answers[j.name].test).sum(axis=0)))
            for seed in fits.seeds
            for j in fits.wanted(job.recipe, seed=seed)
            if j.title == job.title
        },
        steady_macro_f1=ground.macro_f1(steady.test) if steady else None,
        per_class=per_class(confusions, classes, resampled),
        per_profile=by_group(test.profile, test, decided, ground.k, resampled),
        per_host=by_group(test.host_id, test, decided, ground.k, resampled),
        by_purity=by_purity(test, decided, ground.k, resampled),
        labels=scores.seen(total, classes),
        confusion=scores.seen_part(total),
        calibration=calibration(p, test.y, temperature),
        abstention=abstention(believed, test.y, threshold),
        **_alarms(ground, mine, believed, sure, temperature),
        detection=detection(test, p, classes, resampled) if speaks_of_infection(classes) else None,
        sources=_sources(mine, variants, ground),
        channels=mine.channels,
    )


def _alarms(
    ground: _Ground, mine: Answers, believed: Probabilities, sure: NDArray[np.int64], temperature: float
) -> dict[str, Any]:
    """The fields of a `ModelRecord` that say what an operator would see. sure: (N,), -1 where the model abstains."""
    test, classes, schema, resampled = ground.test, ground.dataset.classes, ground.dataset.schema, ground.resampled
    tuned = scores.calibrated(mine.validation, temperature)
    spec = fitted_filter(ground.learned, ground.validation, tuned, classes, schema, mine.blind[0])
    if spec is None:
        return {"filter": None, "alarms": None, "alarms_in_a_row": None, "filtered_macro_f1": None, "curve": []}
    heard = listen(test, believed, sure, spec, classes, schema, mine.blind[1])
    before = listen(test, believed, sure, None, classes, schema, mine.blind[1])
    return {
        "filter": spec,
        "alarms": alarms(test, heard.raised, classes, schema, resampled),
        "alarms_in_a_row": alarms(test, before.raised, classes, schema, resampled),
        "filtered_macro_f1": resampled.macro_f1(test.y, heard.phase, ground.k),
        "curve": curve(test, heard, spec.clear_below, classes, schema, resampled),
    }


def _sources(mine: Answers, variants: Mapping[str, Answers], ground: _Ground) -> dict[str, Worth]:
    with_all = ground.confusions(mine.test)

    def fall(p: Probabilities) -> Interval:
        duel = Duels({"with": with_all, "without": ground.confusions(p)}, ground.resampled)
        return duel.pair("with", "without").difference

    found = {}
    for source, blind in mine.without.items():
        never = variants.get(f"{WITHOUT}{source}")
        found[source] = Worth(taken_away=fall(blind), refitted=fall(never.test) if never else None)
    return found
