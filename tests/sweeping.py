"""Sweeps for tests: run one, read its codes, and clones to keep one busy."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.recordings import ONE, rename
from trainer.sweep.catalogue import Census
from trainer.sweep.finding import Finding
from trainer.sweep.sweep import Sweep, sweep
from trainer.workers.start import engine


def run(store: Path, out: Path | None = None, workers: int = 1, **options: Any) -> Census:
    with engine(workers) as made:
        return sweep(Sweep(store=store, out=out or store / "index.parquet", **options), made)


def codes(finding: Finding) -> set[str]:
    return {reason.code for reason in finding.reasons}


def many(store: Path, number: int) -> None:
    """Clones of one episode."""
    for i in range(number):
        folder = store / "lab-q35-2" / f"clone-{i:03}"
        shutil.copytree(ONE, folder)
        folder.chmod(0o755)
        rename(folder, episode_id=folder.name)
