"""One job: fit a model and leave its checkpoint, or find the checkpoint that an earlier run left."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from contracts.errors import DatasetError, DigestError, MissingError, SchemaMismatchError
from trainer.architectures.architecture import FitSettings, Fitted, Model
from trainer.architectures.named import architecture_named
from trainer.dataset.dataset import Dataset
from trainer.dataset.open import open_dataset
from trainer.dataset.side import side_of
from trainer.fits.checkpoint import Stamp, load_checkpoint, save_checkpoint
from trainer.fits.job import KEPT, Job, split_path
from trainer.split import Split, load_split
from trainer.versions import FITTING, code_digest, library_versions
from trainer.workers.progress import say

WORD_EVERY_S = 30.0
"""A fit that takes long says so now and then."""


def stamp_of(job: Job, dataset: Dataset, split: Split) -> Stamp:
    """What a checkpoint of this job must say of itself."""
    architecture = architecture_named(job.architecture)
    return Stamp(
        architecture=architecture.name,
        version=architecture.version,
        schema_hash=dataset.schema.hash,
        dataset_digest=dataset.digest,
        split_digest=split.digest,
        channels=job.channels,
        classes=dataset.classes,
        seed=job.seed,
        quick=job.quick,
        settings=architecture.resolved(job.settings, quick=job.quick),
        code=code_digest(*FITTING),
        versions=library_versions(),
    )


def model_of(job: Job, dataset: Dataset, split: Split, out: Path) -> Model:
    """The model that a job left. Raises as `load_checkpoint` does."""
    return load_checkpoint(
        architecture_named(job.architecture), checkpoint_of(job, out), dataset.schema, stamp_of(job, dataset, split)
    )


def checkpoint_of(job: Job, out: Path) -> Path:
    return out / "checkpoints" / job.name


def fit_job(job: Job, dataset: Path, out: Path) -> str:
    """Fit one model; a few words on how it went.

    Raises `DatasetError`, `StorageError`, `DivergedError` (the best weights until then are kept beside the place).
    """
    opened = open_dataset(dataset)
    split = load_split(split_path(out, job.recipe), opened.digest)
    try:
        model_of(job, opened, split, out)
    except (MissingError, DatasetError, DigestError, SchemaMismatchError):
        pass
    else:
        return KEPT
    stamp, folder = stamp_of(job, opened, split), checkpoint_of(job, out)
    # the state of a fit of other data or settings is of no use
    digest = hashlib.sha256(msgspec.json.encode(stamp, order="sorted")).hexdigest()[:12]
    keep = folder.with_name(f".{folder.name}.{digest}.fitting")
    began = time.monotonic()
    fitted = fit(job, opened, split, keep)
    if fitted.fault is not None:
        if fitted.model is not None:
            save_checkpoint(fitted.model, fitted.curves, stamp, folder.with_name(f"{folder.name}.last-good"))
            say(f"{job.name}: the best weights until then are kept in checkpoints/{job.name}.last-good")
        raise fitted.fault
    assert fitted.model is not None
    save_checkpoint(fitted.model, fitted.curves, stamp, folder)
    shutil.rmtree(keep, ignore_errors=True)
    curves = fitted.curves
    return f"best {curves.unit} {curves.best + 1} of {len(curves.loss)}, {time.monotonic() - began:.0f} s"


def fit(job: Job, dataset: Dataset, split: Split, keep: Path | None) -> Fitted:
    """Fit one model, and leave nothing but the state of an interrupted fit in `keep`."""
    architecture = architecture_named(job.architecture)
    train, validation = (
        side_of(dataset, architecture.view, job.channels, some) for some in (split.train, split.validation)
    )
    return architecture.fit(
        train,
        validation,
        FitSettings(seed=job.seed, quick=job.quick, settings=job.settings, keep=keep, progress=_words(job.name)),
    )


def _words(name: str) -> Callable[[int, int, str], None]:
    said = time.monotonic()

    def progress(done: int, of: int, news: str) -> None:
        nonlocal said
        if time.monotonic() - said > WORD_EVERY_S:
            said = time.monotonic()
            say(f"{name}: {done} of at most {of}, {news}")

    return progress
