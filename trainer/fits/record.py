"""`fits.json`: what a `trainer fit` was asked for, so that evaluate, report and compile find all of it again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from contracts.decode import decoded
from contracts.errors import ConfigError, DatasetError, DigestError
from contracts.features.channels import view_of
from contracts.files import read_file, sha256, write_file
from contracts.text import printable
from contracts.vocabulary import ThreatModel
from trainer.dataset.dataset import Dataset
from trainer.dataset.open import open_dataset
from trainer.fits.job import FULL, STEADY, Job, split_path
from trainer.split import Split, load_split
from trainer.workers.progress import say

_FITS = "fits.json"
WITHOUT = "without-"
"""Variants `without-<source>`: what a source is worth to a model that never had it."""


class Fits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """dataset: its path, relative to the folder where this stands. splits: their digests by recipe."""

    format: Literal["phasewatch fits 1"] = "phasewatch fits 1"
    command: str
    dataset: str
    dataset_digest: str
    splits: dict[str, str]
    seeds: tuple[int, ...]
    quick: bool
    tuned: bool
    left_out: dict[str, int]
    jobs: tuple[Job, ...]

    @property
    def digest(self) -> str:
        """sha256 of all that decides the models, and so their scores."""
        return sha256(msgspec.json.encode(msgspec.structs.replace(self, command="", dataset=""), order="sorted"))

    @property
    def recipes(self) -> tuple[str, ...]:
        """The first is what ships."""
        return tuple(self.splits)

    def wanted(self, recipe: str, variant: str = FULL, seed: int | None = None) -> list[Job]:
        """Jobs of a recipe; of the first seed, or of any other."""
        first = self.seeds[0] if seed is None else seed
        return [j for j in self.jobs if (j.recipe, j.variant, j.seed) == (recipe, variant, first)]


def plan_jobs(
    dataset: Dataset,
    recipes: Sequence[str],
    architectures: Sequence[str],
    threat_models: Sequence[ThreatModel],
    seeds: Sequence[int],
    *,
    quick: bool,
    suspects: Mapping[str, frozenset[str]],
    settings: Mapping[str, Mapping[str, float]],
) -> tuple[Job, ...]:
    """All fits of an experiment. suspects: per recipe, channels that creep or warm up; settings: per `study` of a job.

    Every model with all channels, for every seed; for the first seed also without the suspects (of quick fits gbt
    alone), and gbt without each source.
    """

    def jobs() -> Iterator[Job]:
        models = distinct(dataset, threat_models)
        for recipe in recipes:
            for architecture in architectures:
                for threat_model in models:
                    view = view_of(dataset.schema.channels, threat_model)
                    whole = Job(
                        architecture=architecture,
                        threat_model=threat_model,
                        recipe=recipe,
                        seed=seeds[0],
                        quick=quick,
                        channels=view,
                    )
                    whole = msgspec.structs.replace(whole, settings=dict(settings.get(whole.study, {})))
                    yield from (msgspec.structs.replace(whole, seed=seed) for seed in seeds)
                    steady = tuple(channel for channel in view if channel not in suspects[recipe])
                    if steady and steady != view and (architecture == "gbt" or not quick):
                        yield msgspec.structs.replace(whole, variant=STEADY, channels=steady)
                    sources = dict.fromkeys(channel.partition(".")[0] for channel in view)
                    for source in sources if architecture == "gbt" and len(sources) > 1 else ():
                        left = tuple(channel for channel in view if not channel.startswith(f"{source}."))
                        yield msgspec.structs.replace(whole, variant=f"{WITHOUT}{source}", channels=left)

    return tuple(jobs())


def distinct(dataset: Dataset, threat_models: Sequence[ThreatModel]) -> list[ThreatModel]:
    """Threat models that see different channels of a dataset; of two that see the same, the first."""
    views: dict[tuple[str, ...], ThreatModel] = {}
    for threat_model in threat_models:
        first = views.setdefault(view_of(dataset.schema.channels, threat_model), threat_model)
        if first != threat_model:
            say(f"fit: {threat_model} sees what {first} sees, and is left out")
    return list(views.values())


def save_fits(fits: Fits, out: Path) -> None:
    """Raises `StorageError`."""
    write_file(out / _FITS, msgspec.json.format(msgspec.json.encode(fits), indent=1))


def load_fits(out: Path) -> Fits:
    """Raises `MissingError`, `DatasetError`."""
    path = out / _FITS
    return decoded(read_file(path), Fits, path, DatasetError, expected="what `trainer fit` wrote", remedy="fit again")


def relative(dataset: Path, out: Path) -> str:
    """How `out` names its dataset: so that both can be moved together, and a dataset that is a link stays one.

    From where `out` really is, for that is where the system begins when it reads `out/..`. Raises `ConfigError` for a
    name that JSON cannot hold.
    """
    named = dataset.absolute()
    place = named.resolve() if named.name == ".." else named.parent.resolve() / named.name
    found = os.path.relpath(place, out.resolve())
    if printable(found) != found:
        raise ConfigError(
            dataset,
            f"the name {printable(found)!r}, from {out}",
            expected="one of printable UTF-8, for fits.json",
            remedy="rename the folder",
        )
    return found


def open_fitted(fits: Fits, out: Path) -> tuple[Dataset, dict[str, Split]]:
    """The dataset and the splits that were fitted to. Raises `MissingError`, `DatasetError`, `DigestError`."""
    dataset = open_dataset(out / fits.dataset)
    if dataset.digest != fits.dataset_digest:
        raise DigestError(
            dataset.path,
            f"dataset {dataset.digest[:12]}…",
            expected=f"{fits.dataset_digest[:12]}…, which the models of {out} were fitted to",
            remedy="fit again",
        )
    splits = {recipe: load_split(split_path(out, recipe), dataset.digest) for recipe in fits.recipes}
    for recipe, split in splits.items():
        if split.digest != fits.splits[recipe]:
            raise DigestError(
                split_path(out, recipe),
                f"split {split.digest[:12]}…",
                expected=f"{fits.splits[recipe][:12]}…, which the models were fitted to",
                remedy="fit again",
            )
    return dataset, splits
