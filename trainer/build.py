"""`trainer build`: store -> dataset -> splits -> models -> scores -> candidates -> proof -> report -> bundles.

    trainer build tests/corpus --out build/first

leaves in OUT: dataset/, split-*.json, checkpoints/, fits.json, evaluation.json, predictions/, candidates.json,
report.html and report.json, bundles/*.bundle and index.json, which ranks them by macro F1 on the held-out side
(README: what the bundled recordings give). Started again, it goes on where it was stopped.
"""

from __future__ import annotations

import msgspec

from contracts.errors import WorkError
from contracts.features.schema import feature_schema
from contracts.files import locked, write_file
from trainer.bundle.index import Index
from trainer.bundle.learned import learned_of
from trainer.bundle.pack import Label
from trainer.bundle.provenance import command_of
from trainer.bundle.release import release
from trainer.compile.stage import prove_all
from trainer.dataset.dataset import Dataset
from trainer.dataset.folder import MANIFEST
from trainer.dataset.npz import is_legacy
from trainer.dataset.open import open_dataset
from trainer.evaluate.alone import before_models
from trainer.evaluate.evaluation import evaluate
from trainer.evaluate.kept import kept_evaluation
from trainer.extraction.extract import Extraction, extract_store
from trainer.fits.plan import require_views
from trainer.fits.stage import fit_models, split_all
from trainer.plan import BuildPlan
from trainer.report.page import PAGE, write_report
from trainer.workers.engine import Engine
from trainer.workers.progress import say
from trainer.workers.start import engine


def build(plan: BuildPlan) -> Index:
    """The whole recipe. Raises `PhasewatchError`s; what was finished by then is kept."""
    out = plan.fit.out
    with locked(out / ".lock"), engine(plan.workers, plan.cluster) as made:
        dataset = _dataset(plan, made)
        splits = split_all(dataset, plan.fit)
        for split in splits.values():
            say(before_models(dataset, split))
        fits = fit_models(dataset, splits, plan.fit, made)
        evaluation = kept_evaluation(fits, out)
        if evaluation is None:
            evaluation = evaluate(fits, out, made)
        else:
            say("evaluate: kept from an earlier run")

        split, record = splits[fits.recipes[0]], evaluation.recipes[0]
        proven, compilations = prove_all(fits, split.recipe, dataset.path, out, made, allow_float=plan.allow_float)
        write_report(evaluation, compilations, out)
        refused = {one.title: one.refused for one in compilations.models if one.refused is not None}
        if not proven:
            raise WorkError(str(out), "no model may ship", expected="one at least", remedy=f"see {out / PAGE}")
        label = Label(
            split=split,
            schema=dataset.schema,
            classes=dataset.classes,
            key=plan.key,
            command=command_of(plan),
            learned=learned_of(dataset.path, split),
        )
        bundles = release(proven, refused, dataset.load_ids().of(split.test), record, label, out)
        index = Index(
            recipe=split.recipe,
            held_out=split.held_out,
            untested_profiles=split.untested_profiles,
            untested_classes=split.untested_classes,
            seen_samples=split.seen_samples,
            elapsed_time_alone=record.leaks.elapsed_time_alone,
            warnings=tuple(record.leaks.warnings),
            schema_hash=dataset.schema.hash,
            corpus_digest=dataset.digest,
            split_digest=split.digest,
            bundles=bundles,
            refused=refused,
        )
        write_file(out / "index.json", msgspec.json.format(msgspec.json.encode(index), indent=1))
        return index


def _dataset(plan: BuildPlan, made: Engine) -> Dataset:
    """The dataset of a store; a dataset is one already. Raises `ConfigError` for a blind threat model."""
    if (plan.source / MANIFEST).exists() or is_legacy(plan.source):
        dataset = open_dataset(plan.source, plan.schema)
        require_views(dataset.path, dataset.schema.channels, plan.fit.threat_models)
        return dataset
    schema = plan.schema or feature_schema()
    return extract_store(
        Extraction(store=plan.source, out=plan.fit.out / "dataset", schema=schema, degraded=plan.degraded), made
    )
