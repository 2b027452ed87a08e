"""The scorecard of one model: what the held-out side says of it, honestly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from contracts.payloads import Interval, Paired, ProfileScore
from contracts.phases import PHASES
from contracts.scorecard import Reference, Scorecard
from edge import scores
from trainer.architectures.base import Model, log_loss
from trainer.corpus.samples import Samples
from trainer.split import Split

Probabilities = NDArray[np.float32]
K = len(PHASES)


def by_episode(test: Samples, decided: NDArray[np.int64]) -> NDArray[np.int64]:
    """Confusion matrices by episode, in order of episode id: (E, K, K)."""
    cluster = np.unique(test.episode_id.astype(str), return_inverse=True)[1].astype(np.int64)
    return scores.confusions(test.y, decided, cluster, K)


def score(
    test: Samples,
    split: Split,
    artifacts: Sequence[Probabilities],
    model: Probabilities,
    *,
    elapsed_time_alone: Interval,
    seed: int,
) -> Scorecard:
    """Scores of an artifact on the held-out windows, beside its model's.

    artifacts: its probabilities (N, K) in every runtime, the preferred one first, which is the one that is scored.
    """
    decided, meant = artifacts[0].argmax(axis=1), model.argmax(axis=1)
    learned = [f"{p}/{s}" in split.seen_samples for p, s in zip(test.profile, test.sample_name, strict=True)]
    confusions = by_episode(test, decided)
    total = confusions.sum(axis=0)
    per_class = scores.by_phase(total)
    return Scorecard(
        recipe=split.recipe,
        held_out=split.held_out,
        episodes=len(confusions),
        windows=len(test.y),
        macro_f1=scores.f1_interval(confusions, seed=seed),
        model_macro_f1=float(scores.macro_f1(by_episode(test, meant).sum(axis=0))),
        argmax_agreement=min(scores.agreement(one, model) for one in artifacts),
        max_probability_difference=max(float(np.abs(one - model).max()) for one in artifacts),
        per_class=per_class,
        per_host=_by_host(test, decided),
        labels=tuple(per_class),
        confusion=tuple(map(tuple, scores.seen_part(total))),
        profiles=_by_profile(test, decided),
        untested_profiles=split.untested_profiles,
        seen_samples_share=float(np.mean(learned)),
        elapsed_time_alone=elapsed_time_alone,
        paired=None,
    )


def _by_host(test: Samples, decided: NDArray[np.int64]) -> dict[str, float]:
    found = {}
    for host in sorted(set(test.host_id)):
        at = test.host_id == host
        found[host] = float(scores.macro_f1(scores.confusions(test.y[at], decided[at], np.zeros(at.sum(), int), K)[0]))
    return found


def _by_profile(test: Samples, decided: NDArray[np.int64]) -> dict[str, ProfileScore]:
    found = {}
    for profile in sorted(set(test.profile)):
        at = test.profile == profile
        confusion = scores.confusions(test.y[at], decided[at], np.zeros(at.sum(), int), K)[0]
        found[profile] = ProfileScore(
            macro_f1=float(scores.macro_f1(confusion)),
            episodes=len(set(test.episode_id[at])),
            windows=int(at.sum()),
        )
    return found


def compare(test: Samples, decided: Mapping[str, NDArray[np.int64]], seed: int) -> dict[str, Paired]:
    """Each model against the best of the others, on the same resamples of episodes."""
    if len(decided) < 2:
        return {}
    names = list(decided)
    confusions = np.stack([by_episode(test, decided[name]) for name in names])
    value = scores.macro_f1(confusions.sum(axis=1))
    order = sorted(range(len(names)), key=lambda i: (-value[i], names[i]))
    replicates = scores.bootstrap(confusions, seed=seed) if confusions.shape[1] > 1 else None
    found = {}
    for i, name in enumerate(names):
        other = order[1] if i == order[0] else order[0]
        low, high = (None, None) if replicates is None else scores.interval(replicates[i] - replicates[other])
        difference = Interval(value=float(value[i] - value[other]), low=low, high=high)
        found[name] = Paired(against=names[other], difference=difference)
    return found


def reference(model: Model, train: Samples, validation: Samples, channels: int) -> Reference:
    """What the inputs looked like in training, and what the model makes of each channel.

    Importance is the rise of the validation log loss when a channel is not observed.
    """
    width = 1 if train.x.ndim == 3 else train.x.shape[1] // channels
    if train.x.ndim == 3:
        count = np.count_nonzero(~np.isnan(train.x), axis=2)
        level = np.nansum(train.x, axis=2, dtype=np.float64) / np.where(count, count, np.nan)
    else:
        level = train.x[:, ::width].astype(np.float64)  # the first of a summary's statistics is the mean
    whole = log_loss(model.predict(validation.x), validation.y)
    importance = []
    for i in range(channels):
        blind = validation.x.copy()
        blind[:, i * width : (i + 1) * width] = np.nan
        importance.append(max(0.0, log_loss(model.predict(blind), validation.y) - whole))
    known = np.maximum(np.count_nonzero(~np.isnan(level), axis=0), 1)
    mean = np.nansum(level, axis=0) / known
    std = np.sqrt(np.nansum((level - mean) ** 2, axis=0) / known)
    return Reference(
        mean=tuple(float(v) for v in mean),
        std=tuple(float(v) if v > 1e-6 else 1.0 for v in std),
        importance=tuple(round(v, 6) for v in importance),
    )
