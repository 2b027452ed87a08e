"""The sweep: every episode of a store, examined once, into one index.

walk -> (changed since last time?) -> examine, on the engine -> ledger -> index.parquet
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from contracts.errors import DatasetError, WorkError
from contracts.files import locked
from contracts.telemetry.episode import no_episode
from trainer.sweep.catalogue import Census, Tally, is_complete, read_index, write_index
from trainer.sweep.examine import examine
from trainer.sweep.finding import Finding, fingerprint, lost, relative
from trainer.sweep.ledger import Ledger, opened_ledger, remove_ledger
from trainer.versions import VALIDATOR_VERSION
from trainer.workers.engine import Engine, Lost
from trainer.workers.progress import Step, say, stage

_TASK = 16
"""Episodes per task: a tenth of a second of work."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What to sweep. `base`: an index to start from, beside `out` itself; `full`: read unchanged episodes again."""

    store: Path
    out: Path
    full: bool = False
    base: Path | None = None


def sweep(plan: Sweep, engine: Engine) -> Census:
    """Bring the index at `plan.out` up to date.

    Raises `MissingError`, `BusyError`, `StorageError`, and `DatasetError` if there is a file at `plan.out` that is no
    index: it is not ours to replace. On Ctrl-C the index holds what was done, and says so.
    """
    total = require_episodes(plan.store)
    engine.require_shared(plan.store, written=False)
    work = plan.out.with_name(f".{plan.out.name}.ledger")
    with locked(plan.out.with_name(f".{plan.out.name}.lock")):
        if plan.out.exists():
            is_complete(plan.out)
        with opened_ledger(work, full=plan.full) as ledger:
            if not ledger.resumed and not plan.full:
                _start_from(plan, ledger)
            try:
                with stage("validate", total) as step:
                    _fill(plan, ledger, engine, step)
                ledger.forget_unseen()
                census = _finish(plan, ledger, complete=True)
            except (KeyboardInterrupt, WorkError):
                # the ledger stays: it also knows what this sweep has not come to yet
                census = _finish(plan, ledger, complete=False)
                say(f"stopped: {plan.out} holds {census.episodes} of {total} episodes; run it again to go on")
                raise
        remove_ledger(work)
    return census


def require_episodes(store: Path) -> int:
    """How many episodes there are. Raises `MissingError` for none: asked before anything is written."""
    total = sum(1 for _ in episode_folders(store))
    if total == 0:
        raise no_episode(store)
    return total


def episode_folders(store: Path) -> Iterator[Path]:
    """Every `<store>/<host>/<episode>/`, in order; one without `episode.json` too, for it should have one.

    A host's folder that cannot be listed, or is a link, counts as one episode, `*`: it is not passed over in silence.
    """
    try:
        hosts = _folders(store)
    except (FileNotFoundError, NotADirectoryError):
        return
    for host in hosts:
        try:
            episodes = [host / "*"] if host.is_symlink() else _folders(host)
        except OSError:
            episodes = [host / "*"]
        yield from episodes


def _folders(parent: Path) -> list[Path]:
    """Folders, and links in the place of folders: those are not followed, and not passed over either."""
    with os.scandir(parent) as entries:
        names = [
            entry.name
            for entry in entries
            if entry.name[0] != "." and (entry.is_symlink() or entry.is_dir(follow_symlinks=False))
        ]
    return [parent / name for name in sorted(names)]


def _start_from(plan: Sweep, ledger: Ledger) -> None:
    """Earlier findings: of the base index, then of our own."""
    for path in (plan.base, plan.out):
        if path is None or not path.exists():
            continue
        try:
            known = (finding for finding in read_index(path) if finding.validator_version == VALIDATOR_VERSION)
            while some := list(islice(known, 256)):
                ledger.add(some, seen=False)
        except DatasetError as error:
            if path == plan.out:
                raise
            say(f"validate: {path} is no index ({error.found}), and is left alone")


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

    suspects: list[Path] = []
    for folders, outcome in engine.run(examine_all, changed()):
        if isinstance(outcome, Lost):
            suspects += folders
        else:
            met(outcome)
    for (folder,), outcome in engine.run(examine_all, ([suspect] for suspect in suspects)):
        met([lost(folder)] if isinstance(outcome, Lost) else outcome)


def examine_all(folders: list[Path]) -> list[Finding]:
    """One task of the sweep."""
    return [examine(folder) for folder in folders]


def _finish(plan: Sweep, ledger: Ledger, *, complete: bool) -> Census:
    tally = Tally()
    write_index(plan.out, tally.passing(ledger.findings()), complete=complete)
    return tally.census(complete=complete)
