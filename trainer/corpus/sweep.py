"""The sweep: every episode of a store, examined once, into one index.

walk -> (changed since last time?) -> examine, on the engine -> ledger -> index.parquet
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from contracts.errors import MissingError
from contracts.features import FeatureSchema
from contracts.telemetry.storage import locked
from trainer.corpus.catalogue import Census, is_complete, read_index, write_index
from trainer.corpus.examine import VALIDATOR_VERSION, Finding, examine, fingerprint, lost, relative
from trainer.corpus.ledger import Ledger, opened_ledger, remove_ledger
from trainer.engine import Engine, Lost
from trainer.progress import Step, say, stage

_TASK = 16
"""Episodes per task: a tenth of a second of work."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What to sweep. `base`: an index to start from, beside `out` itself; `full`: read unchanged episodes again."""

    store: Path
    out: Path
    schema: FeatureSchema
    full: bool = False
    base: Path | None = None


def sweep(plan: Sweep, engine: Engine) -> Census:
    """Bring the index at `plan.out` up to date.

    Raises `MissingError`, `BusyError`, `StorageError`, and `DatasetError` if there is a file at `plan.out` that is no
    index: it is not ours to replace. On Ctrl-C the index holds what was done, and says so.
    """
    total = sum(1 for _ in episode_folders(plan.store))
    if total == 0:
        raise MissingError(
            plan.store,
            "an empty store" if plan.store.is_dir() else "no such folder",
            expected="<host_id>/<episode_id>/episode.json",
            remedy="point at a folder of recorded episodes, such as tests/corpus",
        )
    engine.require_shared(plan.store)
    work = plan.out.with_name(f".{plan.out.name}.ledger")
    with locked(plan.out.with_name(f".{plan.out.name}.lock")):
        if plan.out.exists():
            is_complete(plan.out)
        resumed = work.exists() and not plan.full
        with opened_ledger(work, fresh=not resumed) as ledger:
            if not resumed and not plan.full:
                _start_from(plan, ledger)
            try:
                with stage("validate", total) as step:
                    _fill(plan, ledger, engine, step)
            except KeyboardInterrupt:
                census = _finish(plan, ledger, complete=False)
                say(f"stopped: {plan.out} holds {census.episodes} of {total} episodes; run it again to go on")
                raise
            ledger.forget_unseen()
            census = _finish(plan, ledger, complete=True)
        remove_ledger(work)
    return census


def episode_folders(store: Path) -> Iterator[Path]:
    """Every `<store>/<host>/<episode>/`, in order; one without `episode.json` too, for it should have one."""
    for host in _folders(store):
        yield from _folders(host)


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            names = [entry.name for entry in entries if entry.name[0] != "." and entry.is_dir()]
    except OSError:
        return []
    return [parent / name for name in sorted(names)]


def _start_from(plan: Sweep, ledger: Ledger) -> None:
    """Earlier findings: of the base index, then of our own."""
    for path in (plan.base, plan.out):
        if path is not None and path.exists():
            known = (finding for finding in read_index(path) if finding.validator_version == VALIDATOR_VERSION)
            while some := list(islice(known, 1024)):
                ledger.add(some, seen=False)


def _fill(plan: Sweep, ledger: Ledger, engine: Engine, step: Step) -> None:
    """Examine what is new or has changed."""
    faults = 0

    def met(findings: list[Finding]) -> None:
        nonlocal faults
        ledger.add(findings, seen=True)
        for finding in findings:
            faults += finding.verdict in ("rejected", "errored")
            step(f"{faults} rejected or errored")

    def changed() -> Iterator[list[Path]]:
        some: list[Path] = []
        for folder in episode_folders(plan.store):
            if ledger.keep(relative(folder), fingerprint(folder)):
                step(f"{faults} rejected or errored")
                continue
            some.append(folder)
            if len(some) == _TASK:
                yield some
                some = []
        if some:
            yield some

    work = functools.partial(examine_all, schema=plan.schema)
    suspects: list[Path] = []
    for folders, outcome in engine.run(work, changed()):
        if isinstance(outcome, Lost):
            suspects += folders
        else:
            met(outcome)
    for (folder,), outcome in engine.run(work, ([suspect] for suspect in suspects)):
        met([lost(folder)] if isinstance(outcome, Lost) else outcome)


def examine_all(folders: list[Path], schema: FeatureSchema) -> list[Finding]:
    """One task of the sweep."""
    return [examine(folder, schema) for folder in folders]


def _finish(plan: Sweep, ledger: Ledger, *, complete: bool) -> Census:
    write_index(plan.out, ledger.findings(), complete=complete)
    return Census.of(ledger.findings(), complete=complete)
