"""Fit a model, or keep the one that an earlier run of the same build left."""

from __future__ import annotations

from collections.abc import Callable

from contracts.errors import DatasetError, DigestError, MissingError, SchemaMismatchError
from trainer.architectures import Architecture, FitSettings, Model
from trainer.checkpoint import Stamp, load_checkpoint, save_checkpoint
from trainer.corpus.dataset import Dataset
from trainer.corpus.samples import Samples
from trainer.pack import library_versions
from trainer.plan import BuildPlan
from trainer.progress import say, stage
from trainer.split import Split


def stamp_for(
    architecture: Architecture, channels: tuple[str, ...], dataset: Dataset, split: Split, plan: BuildPlan
) -> Stamp:
    return Stamp(
        architecture=architecture.name,
        version=architecture.version,
        schema_hash=plan.schema.hash,
        dataset_digest=dataset.digest,
        split_digest=split.digest,
        channels=channels,
        seed=plan.seed,
        quick=plan.quick,
        versions=library_versions(),
    )


def fit_or_keep(
    architecture: Architecture, train: Samples, validation: Samples, stamp: Stamp, title: str, plan: BuildPlan
) -> Model:
    """The model of an earlier run if its checkpoint fits, else a new one. Either way it comes from the checkpoint."""
    folder = plan.out / "checkpoints" / title
    try:
        model = load_checkpoint(architecture, folder, plan.schema, stamp)
        say(f"fit {title}: kept from an earlier run")
    except (MissingError, DatasetError, DigestError, SchemaMismatchError):
        with stage(f"fit {title}", 100) as step:
            fitted = architecture.fit(
                train, validation, FitSettings(seed=plan.seed, quick=plan.quick, progress=_percent(step))
            )
        save_checkpoint(fitted, stamp, folder)
        model = load_checkpoint(architecture, folder, plan.schema, stamp)
    return model


def _percent(step: Callable[[str], None]) -> Callable[[int, int, str], None]:
    """Turn `(done, of, news)` into steps of one hundredth."""
    shown = 0

    def report(done: int, of: int, news: str) -> None:
        nonlocal shown
        while shown < done * 100 // of:
            shown += 1
            step(news)

    return report
