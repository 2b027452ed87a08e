"""Which recordings a bundle learned from: known again by their rows, whatever their ids, folder or compression."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from contracts.bundle.archive import Bundle, document
from contracts.errors import DatasetError, MissingError
from trainer.split import Split
from trainer.sweep.catalogue import read_index
from trainer.sweep.finding import Finding

MEMBER = "learned.json"
KEPT = 8
"""Of a recording's sketch (`trainer.sweep.identity`): the smallest hashes, which a copy with rows missing shares."""
SHARED = 2
"""Two recordings share none."""


class Learned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """episodes: id -> the smallest hashes of its rows; none for arrays that were made elsewhere."""

    episodes: dict[str, tuple[int, ...]]


def learned_of(dataset: Path, split: Split) -> Learned:
    """The training and validation sides of a split. dataset: its folder, where an extraction left the sweep's index."""
    sides = frozenset((*split.train, *split.validation))
    try:
        found = {one.episode_id: tuple(one.sketch[:KEPT]) for one in read_index(dataset / "index.parquet")}
    except (MissingError, DatasetError):
        found = {}
    return Learned(episodes={name: found.get(name, ()) for name in sorted(sides)})


def read_learned(bundle: Bundle) -> Learned:
    """Nothing where an older bundle does not say. Raises `BundleError`."""
    return document(bundle, MEMBER, Learned) if MEMBER in bundle.members else Learned(episodes={})


def already_learned(learned: Learned, findings: Iterable[Finding]) -> dict[str, str]:
    """Path of an episode -> the one that it is, of those that were learned from: by its rows, or by its id."""
    of_hash = {one: name for name, hashes in learned.episodes.items() for one in hashes}
    found = {}
    for finding in findings:
        hits = [of_hash[one] for one in finding.sketch if one in of_hash]
        twin = next((name for name in hits if hits.count(name) >= SHARED), None)
        if twin is None and finding.episode_id in learned.episodes:
            twin = finding.episode_id
        if twin is not None:
            found[finding.path] = twin
    return found
