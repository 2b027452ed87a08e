"""All forms of one model that are worth a try, each converted or with the reason why it could not be."""

from __future__ import annotations

import dataclasses
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from contracts.bundle.archive import Artifact
from trainer.architectures.architecture import Model
from trainer.architectures.gbt import GbtModel
from trainer.compile.candidate import Candidate
from trainer.compile.convert import Converted, convert
from trainer.compile.forests import CHECKPOINT, MACHINES, compiler_for, tree_artifacts
from trainer.compile.smaller_forests import forests
from trainer.dataset.side import PART
from trainer.fits.job import Job


def candidates_of(
    job: Job, model: Model, checkpoint: Path, windows: Path, compilers: int
) -> Iterator[tuple[str, Candidate | str]]:
    """(form, candidate or why there is none). windows: .npy of all windows that a candidate will be judged by.

    compilers: how many may run at a time.
    """
    if isinstance(model, GbtModel):
        yield from _forests(job, model, windows, compilers)
        return
    from trainer.compile.nets import FORMS

    found = convert(job.architecture, {form.name: checkpoint for form in FORMS})
    for form in FORMS:
        made = found[form.name]
        if isinstance(made, Converted):
            artifact = Artifact(runtime="tflite", member="model.tflite")
            yield (
                form.name,
                Candidate(
                    form=form.name,
                    artifacts=(artifact,),
                    members=made.members,
                    small=form.small,
                    facts=made.facts,
                ),
            )
        else:
            yield form.name, made


def _forests(job: Job, model: GbtModel, windows: Path, compilers: int) -> Iterator[tuple[str, Candidate | str]]:
    own = (platform.machine(),)
    judged_by = np.load(windows, mmap_mode="r", allow_pickle=False)
    boosters = forests(model)
    with tempfile.TemporaryDirectory(prefix="phasewatch-") as folder:
        sources = {form: Path(folder) / f"{i}.ubj" for i, form in enumerate(boosters)}
        for form, booster in boosters.items():
            sources[form].write_bytes(booster.save_raw("ubj"))
        made = convert(job.architecture, sources, machines=own, compilers=compilers)
    for form, booster in boosters.items():
        converted = made[form]
        if isinstance(converted, str):
            yield form, converted
            continue
        parts = (np.array(judged_by[at : at + PART]) for at in range(0, len(judged_by), PART))
        exact = np.concatenate([GbtModel(booster).predict(part) for part in parts])
        yield (
            form,
            Candidate(
                form=form,
                artifacts=tree_artifacts(own),
                members=converted.members,
                small=True,
                facts=converted.facts,
                exact=exact,
            ),
        )


def for_other_machines(candidate: Candidate, compilers: int) -> tuple[Candidate, tuple[str, ...]]:
    """The same with native libraries for all machines that there is a compiler for, and what a reader must know."""
    if CHECKPOINT not in candidate.members:
        return candidate, ()
    own = platform.machine()
    others = tuple(machine for machine in MACHINES if machine != own and compiler_for(machine))
    absent = [machine for machine in MACHINES if machine not in (own, *others)]
    notes = [
        f"has no library for {machine}: {MACHINES[machine][0]} is not installed "
        f"(Debian: gcc-{machine.replace('_', '-')}-linux-gnu); there it runs only where treelite is installed"
        for machine in absent
    ]
    if not others:
        return candidate, tuple(notes)
    with tempfile.TemporaryDirectory(prefix="phasewatch-") as folder:
        file = Path(folder) / CHECKPOINT
        file.write_bytes(candidate.members[CHECKPOINT])
        made = convert("gbt", {candidate.form: file}, machines=others, compilers=compilers)[candidate.form]
    if isinstance(made, str):
        return candidate, (
            *notes,
            f"has no library for other machines, and runs there only where treelite is installed: {made}",
        )
    return (
        dataclasses.replace(
            candidate, artifacts=tree_artifacts((own, *others)), members={**made.members, **candidate.members}
        ),
        tuple(notes),
    )
