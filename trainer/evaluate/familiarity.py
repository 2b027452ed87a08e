"""What a bundle carries so that its agent can say that a window is unlike anything learned from, and how well it does.

Judged without a model: by how many windows of the held-out side are flagged, and by how many of a profile that was left
out of the training and validation sides on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.bundle.familiar import Familiar
from contracts.events.payloads import Interval
from contracts.vocabulary import CLEAN
from edge.familiar import UNFAMILIAR, nearest, p_values, standardised
from trainer.dataset.dataset import Dataset
from trainer.dataset.samples import Samples
from trainer.dataset.side import Side, side_of
from trainer.evaluate.figures import LeftOut, Unfamiliar
from trainer.evaluate.resampled import Floats, Resampled
from trainer.split import Split

EACH = 16
"""Windows of each profile in each phase that are kept, evenly spaced."""
TUNED = 1000
"""Distances that are kept of the validation side, evenly spaced among the sorted."""
_SPREAD = 1e-6


def levels_of(side: Side, channels: int) -> Floats:
    """(N, C): each window's means, NaN where a channel was not observed at all."""
    return np.concatenate([_levels(x, side.shape[0] // channels) for x in side.parts()])


def _levels(x: NDArray[np.float32], width: int) -> Floats:
    if x.ndim == 2:
        return x[:, ::width].astype(np.float64)  # the first of a summary's statistics is the mean
    count = np.count_nonzero(~np.isnan(x), axis=2)
    return np.asarray(np.nansum(x, axis=2, dtype=np.float64) / np.where(count, count, np.nan))


def mean_and_std(levels: Floats) -> tuple[Floats, Floats]:
    """(N, C) -> (C,), (C,) over what was observed; a deviation of 1 for what never moves."""
    known = np.maximum(np.count_nonzero(~np.isnan(levels), axis=0), 1)
    mean = np.nansum(levels, axis=0) / known
    std = np.sqrt(np.nansum((levels - mean) ** 2, axis=0) / known)
    return mean, np.where(std > _SPREAD, std, 1.0)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What ships. centres: (M, C) float16."""

    document: Familiar
    centres: NDArray[np.float16]


def fitted_familiarity(
    levels: Floats, learned: Samples, validation: Floats, scale: tuple[Floats, Floats], tested: tuple[str, ...]
) -> Fitted:
    """levels, validation: (N, C) of the two sides; scale: means and deviations that an agent will go by."""
    groups = np.char.add(np.char.add(learned.profile.astype(str), "/"), learned.y.astype(str))
    each = (np.flatnonzero(groups == name) for name in np.unique(groups))
    kept = np.sort(np.concatenate([rows[_evenly(len(rows), EACH)] for rows in each]))
    points = np.where(np.isnan(levels[kept]), 0.0, standardised(levels[kept], *scale))
    centres = points.astype(np.float16)
    distance, _ = nearest(standardised(validation, *scale), centres.astype(np.float64))
    known = np.sort(distance[~np.isnan(distance)])
    tuned = (
        known[np.unique(np.linspace(0, len(known) - 1, min(len(known), TUNED)).astype(int))] if len(known) else known
    )
    return Fitted(
        document=Familiar(
            profiles=tuple(map(str, learned.profile[kept])),
            tested=tested,
            distances=tuple(round(float(one), 6) for one in tuned),
        ),
        centres=centres,
    )


def _evenly(of: int, most: int) -> NDArray[np.intp]:
    """Places of at most so many of so many."""
    return np.unique(np.linspace(0, of - 1, min(of, most)).astype(np.intp))


def unfamiliarity(dataset: Dataset, split: Split, channels: tuple[str, ...], resampled: Resampled) -> Unfamiliar:
    """How many windows of the held-out side are flagged; how many of a profile that was never learned from."""
    train, validation, test = (
        side_of(dataset, "summary", channels, some) for some in (split.train, split.validation, split.test)
    )
    found = [levels_of(side, len(channels)) for side in (train, validation, test)]
    scale = mean_and_std(found[0])

    def flagged(learn: NDArray[np.bool_], tune: NDArray[np.bool_]) -> NDArray[np.bool_]:
        fitted = fitted_familiarity(found[0][learn], train.ids.at(np.flatnonzero(learn)), found[1][tune], scale, ())
        distance, _ = nearest(standardised(found[2], *scale), fitted.centres.astype(np.float64))
        return p_values(distance, np.array(fitted.document.distances)) < UNFAMILIAR

    all_of = flagged(np.ones(len(train), np.bool_), np.ones(len(validation), np.bool_))
    clean = dataset.classes.index(CLEAN) if CLEAN in dataset.classes else -1
    left_out: dict[str, LeftOut] = {}
    for profile in sorted(set(train.ids.profile.tolist())):
        its = (test.ids.profile == profile) & (test.y != clean)
        learn, tune = train.ids.profile != profile, validation.ids.profile != profile
        if its.any() and learn.any() and tune.any():
            left_out[str(profile)] = LeftOut(
                windows=int(its.sum()),
                flagged=flag_rate(flagged(learn, tune), its, resampled),
                flagged_when_learned=flag_rate(all_of, its, resampled),
            )
    return Unfamiliar(
        tuned=len(validation),
        flagged=flag_rate(all_of, np.ones(len(test), np.bool_), resampled),
        left_out=left_out,
    )


def flag_rate(flags: NDArray[np.bool_], among: NDArray[np.bool_], resampled: Resampled) -> Interval:
    """The share of some windows that is flagged, with its interval by episode."""
    counts = np.stack(
        [np.bincount(resampled.cluster[rows], minlength=resampled.episodes) for rows in (among, among & flags)], axis=1
    )

    def share(sums: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(sums[..., 1] / sums[..., 0])

    return resampled.interval(counts, share)
