"""Honest splits: by whole episodes, never by window, and never with the held-out host on the training side."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from contracts.errors import DatasetError
from contracts.phases import PHASES
from contracts.telemetry.storage import read_file, write_file
from trainer.corpus.dataset import Samples, digest_of

Recipe = Literal["held_out_host"]
_VALIDATION_SHARE = 0.2


class Split(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which episodes a model may learn from, be tuned by, and be judged by. Episode ids, sorted."""

    recipe: Recipe
    held_out: tuple[str, ...]
    dataset_digest: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    untested_profiles: tuple[str, ...]
    seen_samples: tuple[str, ...]
    """`<profile>/<sample>` of the test side that also occur, on another host, on the training side."""

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


def held_out_host(samples: Samples, dataset_digest: str, host: str | None = None) -> Split:
    """Test on one host, train on the others; validation is a fifth of the training episodes of each profile.

    Without `host`, the one with the fewest episodes is held out, which leaves the most to learn from.
    Raises `DatasetError` where the corpus cannot support it.
    """
    host_of = dict(zip(samples.episode_id, samples.host_id, strict=True))
    profile_of = dict(zip(samples.episode_id, samples.profile, strict=True))
    hosts = Counter(host_of.values())
    listed = ", ".join(sorted(hosts))
    if len(hosts) < 2:
        raise DatasetError(
            "split held_out_host", f"one host only ({listed})", expected="two at least", remedy="record on another host"
        )
    if host is None:
        host = min(hosts, key=lambda name: (hosts[name], name))
    if host not in hosts:
        raise DatasetError(
            "split held_out_host", f"no host {host}", expected=f"one of {listed}", remedy="choose with --held-out"
        )
    sample_of = dict(zip(samples.episode_id, samples.sample_name, strict=True))

    def samples_of(episodes: list[str]) -> set[str]:
        return {f"{profile_of[episode]}/{sample_of[episode]}" for episode in episodes}

    test = sorted(episode for episode in host_of if host_of[episode] == host)
    by_profile: dict[str, list[str]] = defaultdict(list)
    for episode in host_of:
        if host_of[episode] != host:
            by_profile[profile_of[episode]].append(episode)
    unlearned = sorted({profile_of[episode] for episode in test} - by_profile.keys())
    if unlearned:
        raise DatasetError(
            f"split held_out_host {host}",
            f"profile {', '.join(unlearned)} is on no other host",
            expected="every profile on the training side",
            remedy=f"hold out another of {listed}",
        )
    validation: set[str] = set()
    for episodes in by_profile.values():
        # an order that has nothing to do with host or sample, and never changes
        shuffled = sorted(episodes, key=lambda episode: digest_of([episode]))
        if len(episodes) > 1:
            validation.update(shuffled[: max(1, round(len(episodes) * _VALIDATION_SHARE))])
    train = sorted(set().union(*by_profile.values()) - validation)
    split = Split(
        recipe="held_out_host",
        held_out=(host,),
        dataset_digest=dataset_digest,
        train=tuple(train),
        validation=tuple(sorted(validation)),
        test=tuple(test),
        untested_profiles=tuple(sorted(by_profile.keys() - {profile_of[episode] for episode in test})),
        seen_samples=tuple(sorted(samples_of(test) & samples_of([*train, *validation]))),
    )
    _require_phases(samples, split)
    return split


def _require_phases(samples: Samples, split: Split) -> None:
    """Every phase must be there to be learned. Raises `DatasetError`."""
    for side, episodes in (("train", split.train), ("validation", split.validation)):
        seen = np.unique(samples.of(episodes).y)
        absent = [phase for i, phase in enumerate(PHASES) if i not in seen]
        if absent:
            raise DatasetError(
                f"split {split.recipe}",
                f"no window of {', '.join(absent)} in {side}",
                expected="every phase there",
                remedy="record more episodes, or hold out another host",
            )


def save_split(split: Split, path: Path) -> None:
    """Human-readable JSON. Raises `StorageError`."""
    write_file(path, msgspec.json.format(msgspec.json.encode(split), indent=1))


def load_split(path: Path, dataset_digest: str) -> Split:
    """A saved split. Raises `MissingError`, `DatasetError` (also for a split of another dataset)."""
    try:
        split = msgspec.json.decode(read_file(path), type=Split)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DatasetError(path, str(error), expected="a split", remedy="make it again") from None
    if split.dataset_digest != dataset_digest:
        raise DatasetError(
            path,
            f"a split of dataset {split.dataset_digest[:12]}…",
            expected=f"of {dataset_digest[:12]}…",
            remedy="split this dataset",
        )
    return split
