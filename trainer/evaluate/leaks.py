"""The leak check: what a window may be recognised by that says nothing of the guest's behaviour.

Where phases come in a fixed order with similar lengths, the time since the start predicts them, and so does every
channel that creeps (a gauge that only grows) or warms up (much at first, then little). This check trains on the time
alone and on each such channel alone, and names those that explain a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from contracts.events.payloads import Interval
from edge import scores
from trainer.architectures.architecture import FitSettings
from trainer.architectures.gbt import Gbt
from trainer.dataset.dataset import Dataset
from trainer.dataset.samples import Samples
from trainer.dataset.side import Side, side_of
from trainer.evaluate.figures import Creeping, Leaks
from trainer.evaluate.resampled import Resampled
from trainer.fits.creeping import SAMPLE, suspects, time_correlations
from trainer.split import Split


def thinned(side: Side) -> Side:
    """A side in memory with at most so many windows as a quick model needs, evenly spaced in each class."""
    if len(side) <= SAMPLE:
        return replace(side, windows=side.at(np.arange(len(side))))
    most = SAMPLE // len(side.classes)
    of_class = [np.flatnonzero(side.y == label) for label in range(len(side.classes))]
    rows = np.sort(np.concatenate([at[:: -(-len(at) // most)] for at in of_class if len(at)]))
    return Side(side.ids.at(rows), side.classes, side.at(rows))


def check(dataset: Dataset, split: Split, best: tuple[str, float], resampled: Resampled, seed: int) -> Leaks:
    """All of it. best: the title and macro F1 of the model that leads."""
    everything = dataset.schema.channel_ids
    train, validation = (
        thinned(with_elapsed(side_of(dataset, "summary", everything, some))) for some in (split.train, split.validation)
    )
    test = dataset.load_ids().of(split.test)

    whole = (train, validation, Side(test, dataset.classes, test.x))

    def alone(columns: Sequence[NDArray[np.float32]]) -> Interval:
        sides = [replace(side, windows=x) for side, x in zip(whole, columns, strict=True)]
        decided = quick_gbt(sides, seed)
        return resampled.macro_f1(test.y, decided, len(dataset.classes))

    elapsed = alone([train.ids.x, validation.ids.x, elapsed_s(test)[:, None]])
    correlation = time_correlations(dataset, split)
    width = len(dataset.schema.statistics)
    creeping = []
    for channel, why in suspects(dataset, split).items():
        at = everything.index(channel) * width
        one = side_of(dataset, "summary", (channel,), split.test)
        columns = [_held(side)[:, at : at + width] for side in (train, validation)]
        found = alone([*columns, np.concatenate(list(one.parts()))])
        creeping.append(Creeping(channel=channel, why=why, correlation=correlation.get(channel), alone=found))
    creeping.sort(key=lambda one: -one.alone.value)
    hosts = sorted(set(train.ids.host_id) | set(validation.ids.host_id))
    return Leaks(
        elapsed_time_alone=elapsed,
        host_macro_f1=host_recognised(train, validation, hosts, seed) if len(hosts) > 1 else None,
        hosts=len(hosts),
        creeping=creeping,
        warnings=warnings_of(elapsed, creeping, best),
    )


def _held(side: Side) -> NDArray[np.float32]:
    assert isinstance(side.windows, np.ndarray)
    return side.windows


def quick_gbt(sides: Sequence[Side], seed: int) -> NDArray[np.int64]:
    """What a quick gbt, fitted to the first side and stopped by the second, decides of the third: (N,)."""
    model = Gbt().fit(sides[0], sides[1], FitSettings(seed=seed, quick=True)).model
    assert model is not None
    return scores.choices(model.predict_side(sides[2]))


def with_elapsed(side: Side) -> Side:
    """The side, its ids' `x` being the time since the start, (N, 1)."""
    return replace(side, ids=replace(side.ids, x=elapsed_s(side.ids)[:, None]))


def elapsed_s(ids: Samples) -> NDArray[np.float32]:
    """(N,) seconds since the first window of each one's episode."""
    _, which = np.unique(ids.episode_id.astype(str), return_inverse=True)
    first = np.full(which.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, which, ids.centre_ns)
    return np.asarray((ids.centre_ns - first[which]) / 1e9, np.float32)


def host_recognised(train: Side, validation: Side, hosts: list[str], seed: int) -> float | None:
    """Macro F1 of telling the learned-from hosts apart, on every third of their episodes, which it did not see.

    None where some host has too few episodes to be told by others of its own.
    """
    x = np.concatenate([_held(side) for side in (train, validation)])
    ids = [
        np.concatenate([getattr(side.ids, name) for side in (train, validation)]) for name in ("host_id", "episode_id")
    ]
    y = np.searchsorted(hosts, ids[0].astype(str))
    episodes, which = np.unique(ids[1].astype(str), return_inverse=True)
    third = np.zeros(len(episodes), np.int64)
    for label in range(len(hosts)):
        own = np.unique(which[y == label])
        third[own] = np.arange(len(own)) % 3
    sides = []
    for fold in range(3):
        at = np.flatnonzero(third[which] == fold)
        empty = np.empty(0, object)
        ids_of = Samples(np.empty((len(at), 0), np.float32), y[at], (), *(empty,) * 6)
        sides.append(Side(ids_of, tuple(hosts), x[at]))
    if any(len(np.unique(side.y)) < len(hosts) for side in sides):
        return None
    return scores.macro_f1_of(sides[2].y, quick_gbt(sides, seed), len(hosts))


def warnings_of(elapsed: Interval, creeping: list[Creeping], best: tuple[str, float]) -> list[str]:
    """What a reader must be told first."""
    title, value = best
    found = []
    if elapsed.value >= value:
        found.append(
            f"The time since the start alone reaches macro F1 {elapsed.value:.3f} on the held-out side, no less than "
            f"the best model ({title}, {value:.3f}). On these recordings a score may come from the order and length of "
            "the phases, not from the guest."
        )
    elif elapsed.low is not None and elapsed.high is not None and elapsed.high >= value:
        found.append(
            f"The time since the start alone reaches macro F1 {elapsed.value:.3f} [{elapsed.low:.3f}, "
            f"{elapsed.high:.3f}], which does not fall clearly short of the best model ({title}, {value:.3f})."
        )
    for one in creeping:
        if one.alone.value >= 0.8 * value:
            found.append(
                f"{one.channel} ({one.why}) alone reaches {one.alone.value:.3f}, four fifths or more of the best "
                "model's score: it may carry the time."
            )
    return found
