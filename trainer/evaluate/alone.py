"""A corpus judged before it is used: what the phase could be told by that says nothing of the guest's behaviour.

Each of these is all that a quick model is given: the time since the episode's start, the number of phases before, one
channel that creeps or warms up. Where it does better than chance on hosts that it did not learn from, a score on this
corpus may come from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.errors import DatasetError
from edge import scores
from trainer.dataset.dataset import Dataset
from trainer.dataset.samples import Samples
from trainer.dataset.side import Side, side_of
from trainer.evaluate.leaks import elapsed_s, host_recognised, quick_gbt, thinned
from trainer.fits.creeping import suspects
from trainer.split import Split, make_split
from trainer.split.held_out_host import HeldOutHost

NEAR = 0.05
"""So much above chance is no leak."""
ELAPSED, ORDER = "elapsed time", "order of the phases"


class Alone(msgspec.Struct, frozen=True, kw_only=True):
    """Macro F1 by one thing alone, per held-out host. why: for a channel, as `suspects` says."""

    what: str
    why: str = ""
    by_host: dict[str, float]


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """Of one corpus. chance: macro F1 of guesses in the proportions of the training side, per held-out host."""

    chance: dict[str, float]
    alone: list[Alone]
    host_macro_f1: float | None
    """How well hosts are told apart by a window of an episode not seen; chance is 1 / hosts."""
    hosts: int
    left_out: dict[str, str]
    """Hosts that cannot be held out, and why."""

    def leaks(self) -> Iterator[tuple[str, str, float]]:
        """What, host, and how far above chance, where it is more than `NEAR`. The order is not among them: no window
        shows how many phases came before it, and where some episodes stay clean it is never worth nothing."""
        for one in self.alone:
            if one.what == ORDER:
                continue
            for host, value in one.by_host.items():
                if value > self.chance[host] + NEAR:
                    yield one.what, host, value - self.chance[host]


def judge(dataset: Dataset, seed: int = 0) -> Judgement:
    """Each host held out in its turn; channels that creep only for the first of them. Raises `DatasetError`."""
    hosts = sorted(set(dataset.load_ids().host_id.astype(str)))
    chance: dict[str, float] = {}
    found: dict[tuple[str, str], dict[str, float]] = {}
    left_out: dict[str, str] = {}
    told: float | None = None
    for host in hosts if len(hosts) > 2 else ():
        try:
            split = make_split(dataset, HeldOutHost(), host)
        except DatasetError as error:
            left_out[host] = error.found
            continue
        chance[host] = chance_of(dataset, split)
        for (what, why), value in _alone(dataset, split, seed, channels=len(chance) == 1).items():
            found.setdefault((what, why), {})[host] = value
        if told is None:
            train, validation = (_side(dataset, some) for some in (split.train, split.validation))
            learned = sorted(set(train.ids.host_id) | set(validation.ids.host_id))
            told = host_recognised(train, validation, learned, seed)
    return Judgement(
        chance=chance,
        alone=[Alone(what=what, why=why, by_host=by_host) for (what, why), by_host in found.items()],
        host_macro_f1=told,
        hosts=len(hosts) - 1,
        left_out=left_out,
    )


def before_models(dataset: Dataset, split: Split, seed: int = 0) -> str:
    """One line for a build, before anything is fitted."""
    alone = _alone(dataset, split, seed, channels=False)
    reached = ", ".join(f"{what} {value:.3f}" for (what, _), value in alone.items())
    return (
        f"before any model, on the held-out side ({', '.join(split.held_out)}): macro F1 by {reached} alone; "
        f"chance is {chance_of(dataset, split):.3f}"
    )


def chance_of(dataset: Dataset, split: Split) -> float:
    """Macro F1 that guesses in the training side's proportions reach, as expected: 2pq / (p + q) per class that the
    test side has, p and q being its shares on the two sides."""
    ids, classes = dataset.load_ids(), len(dataset.classes)
    p, q = (np.bincount(ids.of(some).y, minlength=classes) for some in (split.train, split.test))
    p, q = p / max(1, p.sum()), q / max(1, q.sum())
    there = q > 0
    return float(np.mean(2 * p[there] * q[there] / (p[there] + q[there])))


def _alone(dataset: Dataset, split: Split, seed: int, *, channels: bool) -> Mapping[tuple[str, str], float]:
    sides = [_side(dataset, some) for some in (split.train, split.validation, split.test)]

    def reached(columns: list[NDArray[np.float32]]) -> float:
        decided = quick_gbt([replace(side, windows=x) for side, x in zip(sides, columns, strict=True)], seed)
        return scores.macro_f1_of(sides[2].y, decided, len(dataset.classes))

    found = {
        (ELAPSED, ""): reached([elapsed_s(side.ids)[:, None] for side in sides]),
        (ORDER, ""): reached([phases_before(side.ids)[:, None] for side in sides]),
    }
    if channels:
        width, names = len(dataset.schema.statistics), dataset.schema.channel_ids
        for channel, why in suspects(dataset, split).items():
            at = names.index(channel) * width
            found[channel, why] = reached([np.asarray(side.windows)[:, at : at + width] for side in sides])
    return found


def phases_before(ids: Samples) -> NDArray[np.float32]:
    """(N,) how many phases each window's episode has gone through before it."""
    found = np.zeros(len(ids.y), np.float32)
    _, which = np.unique(ids.episode_id.astype(str), return_inverse=True)
    for episode in range(which.max() + 1):
        at = np.flatnonzero(which == episode)
        at = at[np.argsort(ids.centre_ns[at], kind="stable")]
        found[at] = np.concatenate([[0], np.cumsum(ids.y[at][1:] != ids.y[at][:-1])])
    return found


def _side(dataset: Dataset, episodes: tuple[str, ...]) -> Side:
    """In memory, with every window, or as many as a quick model needs."""
    whole = side_of(dataset, "summary", dataset.schema.channel_ids, episodes)
    return thinned(whole)
