"""What every recipe shares: a cut, made twice (test, then validation, by one rule), checked, digested and saved."""

from __future__ import annotations

import abc
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from contracts.errors import DatasetError
from trainer.dataset.dataset import Dataset
from trainer.split.episodes import EpisodeFacts, episodes_of
from trainer.split.saved import RecipeName, SideSummary, Split

Episodes = Sequence[EpisodeFacts]


@dataclass(frozen=True)
class Cut:
    """One application of a recipe. `dropped`: too close to `held_out` to be learned from."""

    rest: Episodes
    held_out: Episodes
    dropped: Episodes = ()


class CannotError(Exception):
    """A corpus does not support a cut; the text says why."""


class Recipe(abc.ABC):
    """Abstract; the concrete ones are final."""

    name: RecipeName
    embargo_s: int = 0
    """Seconds that must lie between two sides; only time knows of any."""

    @abc.abstractmethod
    def options(self, episodes: Episodes) -> list[str]:
        """What could be held out, the best choice first; each is something that `--held-out` takes."""

    @abc.abstractmethod
    def cut(self, episodes: Episodes, option: str) -> Cut:
        """Hold one option out. Raises `CannotError`."""


def make_split(dataset: Dataset, recipe: Recipe, held_out: str | None = None) -> Split:
    """Split a dataset: the same one always in the same way. `held_out` chooses; by default the recipe does.

    Raises `DatasetError` where the corpus cannot support it, with what could be held out instead.
    """
    episodes = episodes_of(dataset)
    options = recipe.options(episodes)
    problem = ""
    for option in options if held_out is None else [held_out]:
        try:
            return _split(dataset, episodes, recipe, option)
        except CannotError as error:
            problem = problem or str(error)
    works = list(_working(dataset, episodes, recipe, options))
    raise DatasetError(
        f"split {recipe.name}",
        problem or _nothing(episodes),
        expected="train, validation and test sides with every profile and phase to learn from",
        remedy=f"hold out one of: {', '.join(works)}" if works else "record more, or elsewhere",
    )


def _nothing(episodes: Episodes) -> str:
    hosts = sorted({episode.host_id for episode in episodes})
    return f"{len(episodes)} episodes on {', '.join(hosts)} leave nothing to hold out"


def _working(dataset: Dataset, episodes: Episodes, recipe: Recipe, options: Sequence[str]) -> Iterator[str]:
    for option in options:
        try:
            _split(dataset, episodes, recipe, option)
        except CannotError:
            continue
        yield option


def _split(dataset: Dataset, episodes: Episodes, recipe: Recipe, option: str) -> Split:
    outer = recipe.cut(episodes, option)
    _require_all(outer.rest, episodes, dataset.classes, "the training side")
    inner_option, inner = _inner(outer, recipe, dataset.classes)
    sides = {"train": inner.rest, "validation": inner.held_out, "test": outer.held_out}
    profiles = {episode.profile for episode in outer.rest}
    learned = {_sample(episode) for episode in outer.rest}

    def ids(some: Episodes) -> tuple[str, ...]:
        return tuple(sorted(episode.episode_id for episode in some))

    return Split(
        recipe=recipe.name,
        held_out=tuple(option.split(",")),
        held_out_validation=tuple(inner_option.split(",")),
        embargo_s=recipe.embargo_s,
        dataset_digest=dataset.digest,
        untested_profiles=tuple(sorted(profiles - {episode.profile for episode in outer.held_out})),
        seen_samples=tuple(sorted(learned & {_sample(episode) for episode in outer.held_out})),
        sides={name: _side(some, dataset.classes) for name, some in sides.items()},
        train=ids(inner.rest),
        validation=ids(inner.held_out),
        test=ids(outer.held_out),
        embargoed=ids([*outer.dropped, *inner.dropped]),
    )


def _inner(outer: Cut, recipe: Recipe, classes: tuple[str, ...]) -> tuple[str, Cut]:
    """The training side, cut once more by the same rule. Raises `CannotError` with the first reason."""
    problem = ""
    for option in recipe.options(outer.rest):
        try:
            inner = recipe.cut(outer.rest, option)
            _require_all(inner.rest, outer.rest, classes, "train")
            _require_phases(inner.held_out, classes, "validation")
        except CannotError as error:
            problem = problem or str(error)
        else:
            return option, inner
    raise CannotError(f"the training side cannot spare a validation side ({problem or 'there is nothing to hold out'})")


def _require_all(side: Episodes, whole: Episodes, classes: tuple[str, ...], name: str) -> None:
    absent = {episode.profile for episode in whole} - {episode.profile for episode in side}
    if absent:
        raise CannotError(f"no episode of profile {', '.join(sorted(absent))} in {name}")
    _require_phases(side, classes, name)


def _require_phases(side: Episodes, classes: tuple[str, ...], name: str) -> None:
    counts = np.sum([episode.phases for episode in side], axis=0) if side else np.zeros(len(classes))
    absent = [classes[i] for i in np.flatnonzero(counts == 0)]
    if absent:
        raise CannotError(f"no window of {', '.join(absent)} in {name}")


def _sample(episode: EpisodeFacts) -> str:
    return f"{episode.profile}/{episode.sample_name}"


def _side(episodes: Episodes, classes: tuple[str, ...]) -> SideSummary:
    profiles, hosts = Counter[str](), Counter[str]()
    for episode in episodes:
        profiles[episode.profile] += episode.windows
        hosts[episode.host_id] += episode.windows
    phases = np.sum([episode.phases for episode in episodes], axis=0).tolist()
    return SideSummary(
        episodes=len(episodes),
        windows=sum(episode.windows for episode in episodes),
        phases=dict(zip(classes, phases, strict=True)),
        profiles=dict(sorted(profiles.items())),
        hosts=dict(sorted(hosts.items())),
    )
