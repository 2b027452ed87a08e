"""What one model says: of validation, of the held-out side, and of that side with something taken away.

All that needs the model happens here, once, on whatever worker; scores are made of the answers alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contracts.errors import DivergedError
from edge import scores
from trainer.architectures.architecture import Cost, Model
from trainer.architectures.named import architecture_named
from trainer.curves import Curves
from trainer.dataset.open import open_dataset
from trainer.dataset.side import Side, side_of
from trainer.evaluate.figures import ChannelWorth
from trainer.evaluate.observed import blind_windows, rows_of, source_of
from trainer.fits.checkpoint import read_curves
from trainer.fits.fit_one import checkpoint_of, model_of, stamp_of
from trainer.fits.job import FULL, Job, split_path
from trainer.split import load_split

Probabilities = NDArray[np.float32]
SHUFFLED = 2000
"""At most so many held-out windows are shuffled, evenly spaced ones, ..."""
REPEATS_TOTAL = 1000
"""... and each channel as often as makes about so many predictions."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """validation, test: (N, K) float32. without: the test side's (N, K) as if a source had failed; it and `channels`
    are asked of the first seed's model on all its channels alone."""

    validation: Probabilities
    test: Probabilities
    without: dict[str, Probabilities]
    channels: dict[str, ChannelWorth]
    blind: tuple[NDArray[np.bool_], NDArray[np.bool_]]
    """Of validation and test, (N,) each: of no source but netflow anything was observed, so that the agent decides
    nothing, as on the edge."""
    curves: Curves
    cost: Cost
    settings: dict[str, float]


def answers_of(job: Job, first_seed: int, dataset: Path, out: Path) -> Answers:
    """Raises `MissingError`, `DatasetError`, `DigestError`, `SchemaMismatchError` where no checkpoint fits the job, and
    `DivergedError` for a model that answers with what is no number."""
    opened = open_dataset(dataset)
    split = load_split(split_path(out, job.recipe), opened.digest)
    model = model_of(job, opened, split, out)
    view = architecture_named(job.architecture).view
    validation, test = (side_of(opened, view, job.channels, some) for some in (split.validation, split.test))
    closer = job.variant == FULL and job.seed == first_seed
    said = model.predict_side(validation), model.predict_side(test)
    without = without_sources(model, test, job.channels) if closer else {}
    unknown = sum(int((scores.choices(p) < 0).sum()) for p in (*said, *without.values()))
    if unknown:
        raise DivergedError(
            f"model {job.name}",
            f"probabilities that are not numbers on {unknown} windows",
            expected="a number for every class",
            remedy="fit it again with another --seed, or leave it out",
        )
    return Answers(
        validation=said[0],
        test=said[1],
        without=without,
        channels=shuffled_channels(model, test, job.channels, job.seed) if closer else {},
        blind=(blind_windows(validation, job.channels), blind_windows(test, job.channels)),
        curves=read_curves(checkpoint_of(job, out)),
        cost=model.cost(),
        settings=stamp_of(job, opened, split).settings,
    )


def without_sources(model: Model, test: Side, channels: tuple[str, ...]) -> dict[str, Probabilities]:
    """Answers with each source not observed; none where there is only one."""
    sources = list(dict.fromkeys(map(source_of, channels)))
    found: dict[str, Probabilities] = {}
    for source in sources if len(sources) > 1 else ():
        gone = rows_of([channel for channel in channels if source_of(channel) == source], channels, test.shape)
        parts = []
        for x in test.parts():
            blind = x.copy()
            blind[:, gone] = np.nan
            parts.append(model.predict(blind))
        found[source] = np.concatenate(parts)
    return found


def shuffled_channels(model: Model, test: Side, channels: tuple[str, ...], seed: int) -> dict[str, ChannelWorth]:
    """Permutation importance (Breiman, Random Forests, 2001) on the held-out side: whole windows of a channel change
    places, so that each stays a window that the channel can have."""
    rows = test.spread(SHUFFLED)
    x, y, classes = test.at(rows), test.y[rows], len(test.classes)
    rng = np.random.default_rng(seed)
    whole = scores.macro_f1_of(y, scores.choices(model.predict(x)), classes)
    repeats = max(2, REPEATS_TOTAL // len(x))
    found = {}
    for channel in channels:
        at = rows_of([channel], channels, test.shape)
        falls = []
        for _ in range(repeats):
            mixed = x.copy()
            mixed[:, at] = x[rng.permutation(len(x))][:, at]
            falls.append(whole - scores.macro_f1_of(y, scores.choices(model.predict(mixed)), classes))
        found[channel] = ChannelWorth(fall=float(np.mean(falls)), deviation=float(np.std(falls)))
    return found
