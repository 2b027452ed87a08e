"""`--tune N`: try settings, judged by the validation side alone, within what a Pi may spend on a model. Studies run
beside each other."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import msgspec

from contracts.errors import ConfigError
from contracts.files import write_file
from trainer.fits.job import Job
from trainer.fits.plan import Search
from trainer.fits.worker import study
from trainer.workers.engine import Engine
from trainer.workers.run import run_all


def tuned_settings(
    jobs: Sequence[Job], search: Search, dataset: Path, out: Path, engine: Engine
) -> dict[str, dict[str, float]]:
    """The best settings per study, also written to `tuning/<study>.json`. Raises `ConfigError`, `WorkError`."""
    if importlib.util.find_spec("optuna") is None:
        raise ConfigError("--tune", "no package optuna", expected="Optuna", remedy="install phasewatch[tune]")
    found = run_all(
        "tune",
        study(search, dataset, out),
        jobs,
        engine,
        lambda tuned: f"validation macro F1 {tuned.validation:.3f} (defaults {tuned.default:.3f})",
    )
    for job in jobs:
        tuned = msgspec.json.encode(found[job.name])
        write_file(out / "tuning" / f"{job.study}.json", msgspec.json.format(tuned, indent=1))
    return {job.study: found[job.name].settings for job in jobs}
