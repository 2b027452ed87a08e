"""One model -> candidates -> what each does in every runtime -> the one that ships, or why none does."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.bundle.filter import Filter
from contracts.bundle.scorecard import Reference
from contracts.errors import PhasewatchError
from edge import scores
from trainer.architectures.architecture import Model
from trainer.architectures.named import architecture_named
from trainer.compile.bars import EXACT
from trainer.compile.candidate import Candidate
from trainer.compile.candidates import candidates_of, for_other_machines
from trainer.compile.choice import Attempt, chosen, verdicts
from trainer.compile.compilation import Compilation
from trainer.compile.gate import Ground
from trainer.compile.measure import Run, run_candidate
from trainer.compile.reference import golden_rows, reference
from trainer.dataset.open import open_dataset
from trainer.dataset.shard import View
from trainer.dataset.side import Side, side_of
from trainer.evaluate.calibration import chosen_threshold, fitted_temperature
from trainer.evaluate.familiarity import Fitted, fitted_familiarity, levels_of, mean_and_std
from trainer.evaluate.filtering import fitted_filter
from trainer.evaluate.observed import blind_windows
from trainer.evaluate.resampled import Resampled
from trainer.fits.fit_one import checkpoint_of, model_of
from trainer.fits.job import Job, split_path
from trainer.split import Split, load_split

PROBED = 1000
"""At most so many windows of the training side are run through the artifacts, evenly spaced ones, and as many of the
test side with something wrong with them."""
TUNED = 20_000
"""At most so many of the validation side, in whole episodes: temperature, abstention and filter are chosen on them."""
NUDGE = 1e-5
"""Of a value: another machine's sums are off by less. What lies beside a step of int8 may fall to its other side."""
NET_TOLERANCE = 0.01
"""Of a net's golden probabilities elsewhere, at least: kernels differ from machine to machine."""
MOST = 0.1
"""... and at most: a self-test that bears more would show nothing."""


@dataclass(frozen=True, kw_only=True)
class Proven:
    """The candidate that ships, and what it and the model say of the held-out side.

    view: of windows, what the model is given; settings: what it was fitted with.
    runs: every artifact in every runtime, the one that ships first; expected: the model's own (N, K). golden: windows,
    a few of each class, and what the artifact makes of them, within `tolerance` on any machine. temperature,
    abstain_below and filter are the artifact's own, chosen on validation. blind: (N,), held-out windows of which the
    agent would see nothing.
    """

    job: Job
    view: View
    settings: dict[str, float]
    candidate: Candidate
    runs: list[Run]
    expected: NDArray[np.float32]
    reference: Reference
    golden: tuple[NDArray[np.float32], NDArray[np.float32]]
    tolerance: float
    temperature: float
    abstain_below: float
    filter: Filter | None
    familiar: Fitted
    blind: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one model. proven: None where nothing may ship."""

    compilation: Compilation
    proven: Proven | None


def prove_job(job: Job, dataset: Path, out: Path, allow_float: bool, compilers: int = 1) -> Outcome:
    """Compile one model in every form, judge the forms, and take the best that may ship.

    compilers: how many C compilers may run at a time.
    """
    opened = open_dataset(dataset)
    split = load_split(split_path(out, job.recipe), opened.digest)
    model = model_of(job, opened, split, out)
    architecture = architecture_named(job.architecture)
    view = architecture.view
    train, validation, test = (
        side_of(opened, view, job.channels, some) for some in (split.train, split.validation, split.test)
    )
    # The proof is over all held-out windows, over some of which much was not observed, and over some a little changed.
    rows, some = _whole_episodes(validation), test.spread(PROBED)
    tuning = validation.ids.at(rows)
    others = [
        validation.at(rows),
        train.at(train.spread(PROBED)),
        _gappy(test.at(some), job.seed),
        _nudged(test.at(some), job.seed),
    ]
    scored, tuned = slice(len(test)), slice(len(test), len(test) + len(rows))
    with tempfile.TemporaryDirectory(prefix="phasewatch-") as name:
        file = Path(name) / "windows.npy"
        expected = _written(file, model, itertools.chain(test.parts(), others), len(test) + sum(map(len, others)))
        ground = Ground(
            classes=opened.classes,
            validation=tuning,
            test=test.ids,
            model=(expected[tuned], expected[scored]),
            resampled=Resampled(test.ids.episode_id, job.seed),
        )
        attempts = []
        for form, made in candidates_of(job, model, checkpoint_of(job, out), file, compilers):
            if isinstance(made, str):
                attempts.append(Attempt(form=form, fault=made))
                continue
            try:
                runs = list(run_candidate(made, file, len(opened.classes)))
            except PhasewatchError as error:
                attempts.append(Attempt(form=form, candidate=made, fault=str(error)))
                continue
            judged = [ground.judge(made, run, run.probabilities[tuned], run.probabilities[scored]) for run in runs]
            attempts.append(Attempt(form=form, candidate=made, runs=runs, judged=tuple(judged)))
    best = chosen(attempts, allow_float=allow_float)
    tried, refused = verdicts(attempts, best)
    if best is None:
        return Outcome(compilation=Compilation(title=job.title, tried=tried, refused=refused), proven=None)
    assert best.candidate is not None
    candidate, notes = for_other_machines(best.candidate, compilers)
    said = best.runs[0].probabilities
    off = np.max([np.abs(run.probabilities - said).max(axis=1) for run in best.runs], axis=0)
    tolerance = EXACT
    if candidate.exact is None:
        off[some] = np.maximum(off[some], np.abs(said[-len(some) :] - said[some]).max(axis=1))
        tolerance = min(MOST, max(NET_TOLERANCE, round(2 * float(off.max()), 4)))
    temperature = fitted_temperature(said[tuned], tuning.y)
    believed = scores.calibrated(said[tuned], temperature)
    unseen = blind_windows(validation, job.channels)[rows]
    golden = golden_rows(test.y, said[scored], off[scored], tolerance)
    return Outcome(
        compilation=Compilation(title=job.title, tried=tried, refused=None, notes=notes),
        proven=Proven(
            job=job,
            view=view,
            settings=dict(architecture.resolved(job.settings, quick=job.quick)),
            candidate=dataclasses.replace(candidate, exact=None),
            runs=[dataclasses.replace(run, probabilities=run.probabilities[scored]) for run in best.runs],
            expected=expected[scored],
            reference=reference(model, train, validation, len(job.channels)),
            golden=(test.at(golden), said[golden]),
            tolerance=tolerance,
            temperature=temperature,
            abstain_below=chosen_threshold(believed),
            filter=fitted_filter(train.ids, tuning, believed, opened.classes, opened.schema, unseen),
            familiar=_familiar(train, validation, split, len(job.channels)),
            blind=blind_windows(test, job.channels),
        ),
    )


def _familiar(train: Side, validation: Side, split: Split, channels: int) -> Fitted:
    levels = levels_of(train, channels)
    tested = tuple(sorted(split.sides["test"].profiles))
    return fitted_familiarity(levels, train.ids, levels_of(validation, channels), mean_and_std(levels), tested)


def _whole_episodes(side: Side) -> NDArray[np.intp]:
    """Rows of at most `TUNED` windows, or of the first episode, if that alone has more."""
    names, which = np.unique(side.ids.episode_id.astype(str), return_inverse=True)
    kept = np.cumsum(np.bincount(which, minlength=len(names))) <= TUNED
    kept[:1] = True
    return np.flatnonzero(kept[which])


def _written(file: Path, model: Model, parts: Iterable[NDArray[np.float32]], windows: int) -> NDArray[np.float32]:
    """Write windows into an .npy file, part by part, and what the model makes of them: (N, K)."""
    written, found, done = None, [], 0
    for part in parts:
        if written is None:
            shape = (windows, *part.shape[1:])
            written = np.lib.format.open_memmap(file, "w+", np.float32, shape)  # type: ignore[no-untyped-call,unused-ignore]  # numpy 1 has no types here
        written[done : done + len(part)] = part
        done += len(part)
        found.append(model.predict(part))
    assert done == windows
    return np.concatenate(found)


def _gappy(x: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """A copy in which a fifth of the values was not observed."""
    return np.where(np.random.default_rng(seed).random(x.shape) < 0.2, np.float32(np.nan), x)


def _nudged(x: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """A copy in which every value is a little off, as another machine's arithmetic might have it."""
    return (x * (1 + np.random.default_rng(seed).uniform(-NUDGE, NUDGE, x.shape))).astype(np.float32)
