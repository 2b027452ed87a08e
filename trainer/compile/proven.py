"""One model -> its artifacts, run in every runtime installed: proven to behave as the model does, or refused."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.errors import PhasewatchError, WorkError
from contracts.scorecard import Reference
from trainer import work
from trainer.architectures import Model, architecture_named
from trainer.architectures.gbt import GbtModel
from trainer.architectures.net import NetModel
from trainer.compile.base import Compiled
from trainer.compile.nets import compile_net
from trainer.compile.parity import Run, prove, run_artifacts
from trainer.compile.reference import golden_rows, reference
from trainer.compile.trees import compile_trees
from trainer.corpus.dataset import open_dataset
from trainer.corpus.side import side_of
from trainer.engine import Engine
from trainer.fitting import model_of
from trainer.jobs import Job, split_path
from trainer.progress import say
from trainer.split import load_split

PROBED = 1000
"""At most so many windows of each side that is not scored are run through the artifacts, evenly spaced ones."""


@dataclass(frozen=True, kw_only=True)
class Proven:
    """A model's artifacts, and what they and the model say of the held-out side.

    runs: every artifact in every runtime, the one that ships first; validation, expected: the model's own (N, K).
    golden: windows, a few of each class, and what the shipped artifact makes of them.
    """

    job: Job
    compiled: Compiled
    runs: list[Run]
    expected: NDArray[np.float32]
    reference: Reference
    golden: tuple[NDArray[np.float32], NDArray[np.float32]]


def prove_all(jobs: Sequence[Job], dataset: Path, out: Path, engine: Engine) -> tuple[list[Proven], dict[str, str]]:
    """All models that could be compiled and proven, and why each of the others was refused, by title."""
    found = work.run_all("compile and prove", work.prove(dataset, out), jobs, engine, _in_words)
    refused = {job.title: why for job in jobs if isinstance(why := found[job.name], str)}
    proven = [one for job in jobs if isinstance(one := found[job.name], Proven)]
    for title, why in refused.items():
        say(f"{title} is refused: {why}")
    if not proven:
        raise WorkError(str(out), "no model could be proven", expected="one at least", remedy="see the lines above")
    return proven, refused


def _in_words(outcome: Proven | str) -> str:
    return "refused" if isinstance(outcome, str) else f"{len(outcome.runs)} runs"


def prove_job(job: Job, dataset: Path, out: Path) -> Proven | str:
    """Compile one model and prove it; if that cannot be done, why."""
    opened = open_dataset(dataset)
    split = load_split(split_path(out, job.recipe), opened.digest)
    model = model_of(job, opened, split, out)
    view = architecture_named(job.architecture).view
    train, validation, test = (
        side_of(opened, view, job.channels, some) for some in (split.train, split.validation, split.test)
    )
    # The proof is over all held-out windows, and over some of which much was not observed.
    some = [side.at(side.spread(PROBED)) for side in (train, validation, test)]
    others = [*some[:2], _gappy(some[2], job.seed)]
    with tempfile.TemporaryDirectory(prefix="phasewatch-") as name:
        file = Path(name) / "windows.npy"
        expected = _written(file, model, itertools.chain(test.parts(), others), len(test) + sum(map(len, others)))
        try:
            if isinstance(model, GbtModel):
                compiled = compile_trees(model)
            else:
                assert isinstance(model, NetModel), type(model)
                compiled = compile_net(model)
            runs = run_artifacts(compiled, file, len(opened.classes))
            for run in runs:
                prove(job.title, run, expected, quantized=compiled.quantized)
        except PhasewatchError as error:
            return str(error)
    golden = golden_rows(test.y)
    scored = slice(len(test))
    return Proven(
        job=job,
        compiled=compiled,
        runs=[dataclasses.replace(run, probabilities=run.probabilities[scored]) for run in runs],
        expected=expected[scored],
        reference=reference(model, train, validation, len(job.channels)),
        golden=(test.at(np.sort(golden)), runs[0].probabilities[np.sort(golden)]),
    )


def _written(file: Path, model: Model, parts: Iterable[NDArray[np.float32]], windows: int) -> NDArray[np.float32]:
    """Write windows into an .npy file, part by part, and what the model makes of them: (N, K)."""
    written, found, done = None, [], 0
    for part in parts:
        if written is None:
            shape = (windows, *part.shape[1:])
            written = np.lib.format.open_memmap(file, "w+", np.float32, shape)  # type: ignore[no-untyped-call]
        written[done : done + len(part)] = part
        done += len(part)
        found.append(model.predict(part))
    assert done == windows
    return np.concatenate(found)


def _gappy(x: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """A copy in which a fifth of the values was not observed."""
    return np.where(np.random.default_rng(seed).random(x.shape) < 0.2, np.float32(np.nan), x)
