"""Dataset -> splits -> fitted models: what `trainer fit` does, and the middle of `trainer build`."""

from __future__ import annotations

from pathlib import Path

from trainer.dataset.dataset import Dataset
from trainer.dataset.folder import read_dataset_manifest
from trainer.dataset.npz import is_legacy
from trainer.fits.creeping import suspects
from trainer.fits.job import KEPT, split_path
from trainer.fits.plan import FitPlan
from trainer.fits.record import Fits, plan_jobs, relative, save_fits
from trainer.fits.tune import tuned_settings
from trainer.fits.worker import fit
from trainer.split import Split, load_split, make_split, save_split
from trainer.workers.engine import Engine
from trainer.workers.progress import say
from trainer.workers.run import run_all


def split_all(dataset: Dataset, plan: FitPlan) -> dict[str, Split]:
    """One split per recipe, saved below `plan.out`. Raises `DatasetError` where the dataset cannot support one."""
    splits: dict[str, Split] = {}
    for recipe in plan.recipes:
        split = make_split(dataset, recipe, plan.held_out)
        path = split_path(plan.out, recipe.name)
        save_split(split, path)
        splits[recipe.name] = load_split(path, dataset.digest)
        say(_in_words(split))
    return splits


def fit_models(dataset: Dataset, splits: dict[str, Split], plan: FitPlan, engine: Engine) -> Fits:
    """Checkpoints of all models of a plan, and `fits.json`. Raises what the first fit that fails raises."""
    engine.require_shared(plan.out, written=True)
    engine.require_shared(dataset.path, written=False)
    doubtful = {recipe: frozenset(suspects(dataset, split)) for recipe, split in splits.items()}

    def jobs(settings: dict[str, dict[str, float]]) -> Fits:
        return Fits(
            command=plan.command,
            dataset=relative(dataset.path, plan.out),
            dataset_digest=dataset.digest,
            splits={recipe: split.digest for recipe, split in splits.items()},
            seeds=plan.seeds,
            quick=plan.quick,
            tuned=plan.search is not None,
            left_out=_left_out(dataset.path),
            jobs=plan_jobs(
                dataset,
                list(splits),
                plan.architectures,
                plan.threat_models,
                plan.seeds,
                quick=plan.quick,
                suspects=doubtful,
                settings=settings,
            ),
        )

    fits = jobs({})
    if plan.search is not None:
        studies = [job for recipe in fits.recipes for job in fits.wanted(recipe)]
        fits = jobs(tuned_settings(studies, plan.search, dataset.path, plan.out, engine))
    news = run_all("fit", fit(dataset.path, plan.out), fits.jobs, engine, str)
    if kept := list(news.values()).count(KEPT):
        say(f"fit: {kept} of {len(news)} kept from an earlier run")
    save_fits(fits, plan.out)
    return fits


def _left_out(path: Path) -> dict[str, int]:
    return {} if is_legacy(path) else read_dataset_manifest(path).left_out


def _in_words(split: Split) -> str:
    untested = f"; untested there: {', '.join(split.untested_profiles)}" if split.untested_profiles else ""
    return (
        f"split {split.recipe}: {len(split.train)} episodes to learn from, {len(split.validation)} to tune by, "
        f"{len(split.test)} held out ({', '.join(split.held_out)}){untested}"
    )
