"""All forms of one model that are worth a try, each converted or with the reason why it could not be."""

from __future__ import annotations

import dataclasses
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.bundle import Artifact
from trainer.architectures import Model
from trainer.architectures.gbt import GbtModel
from trainer.compile.base import Candidate
from trainer.compile.convert import Converted, convert
from trainer.compile.pruned import forests
from trainer.compile.trees import CHECKPOINT, MACHINES, compiler_for, tree_artifacts
from trainer.corpus.side import PART, Side
from trainer.jobs import Job

PER_PHASE = 60
"""Training windows of each phase by which int8 scales are chosen: quiet phases are most of a recording, and their
extremes are not those of the others."""


def candidates_of(
    job: Job, model: Model, train: Side, validation: Side, checkpoint: Path, windows: Path
) -> Iterator[tuple[str, Candidate | str]]:
    """(form, candidate or why there is none). windows: .npy of all windows that a candidate will be judged by."""
    if isinstance(model, GbtModel):
        yield from _forests(job, model, train, validation, windows)
        return
    from trainer.compile.nets import FORMS

    found = convert(job.architecture, {form.name: checkpoint for form in FORMS}, examples=examples(train))
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
                    portable=form.portable,
                ),
            )
        else:
            yield form.name, made


def examples(train: Side) -> NDArray[np.float32]:
    """Some training windows of every phase, evenly spaced: (R, *shape)."""
    rows = [np.flatnonzero(train.y == label) for label in np.unique(train.y)]
    some = [at[np.unique(np.linspace(0, len(at) - 1, min(len(at), PER_PHASE)).astype(np.intp))] for at in rows]
    return train.at(np.sort(np.concatenate(some)))


def _forests(
    job: Job, model: GbtModel, train: Side, validation: Side, windows: Path
) -> Iterator[tuple[str, Candidate | str]]:
    own = (platform.machine(),)
    judged_by = np.load(windows, mmap_mode="r", allow_pickle=False)
    boosters = dict(forests(model, job, train, validation))
    with tempfile.TemporaryDirectory(prefix="phasewatch-") as folder:
        sources = {form: Path(folder) / f"{i}.ubj" for i, form in enumerate(boosters)}
        for form, booster in boosters.items():
            sources[form].write_bytes(booster.save_raw("ubj"))
        made = convert(job.architecture, sources, machines=own)
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


def for_other_machines(candidate: Candidate) -> tuple[Candidate, tuple[str, ...]]:
    """The same with native libraries for all machines that there is a compiler for, and what a reader must know."""
    if CHECKPOINT not in candidate.members:
        return candidate, ()
    machines = [machine for machine in {**MACHINES, platform.machine(): ()} if compiler_for(machine)]
    absent = [machine for machine in MACHINES if machine not in machines]
    notes = [
        f"has no library for {machine}: {MACHINES[machine][0]} is not installed "
        f"(Debian: gcc-{machine.replace('_', '-')}-linux-gnu); there it runs only where treelite is installed"
        for machine in absent
    ]
    with tempfile.TemporaryDirectory(prefix="phasewatch-") as folder:
        file = Path(folder) / CHECKPOINT
        file.write_bytes(candidate.members[CHECKPOINT])
        made = convert("gbt", {candidate.form: file}, machines=tuple(machines))[candidate.form]
    if isinstance(made, str):
        return candidate, (
            *notes,
            f"has no library for other machines, and runs there only where treelite is installed: {made}",
        )
    return (
        dataclasses.replace(
            candidate, artifacts=tree_artifacts(tuple(machines)), members={**made.members, **candidate.members}
        ),
        tuple(notes),
    )
