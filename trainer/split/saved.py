"""A split as it is saved: JSON for people, with a digest of itself."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import msgspec

from contracts.decode import decoded
from contracts.errors import DatasetError
from contracts.files import read_file, write_file
from contracts.types import Sha256

RecipeName = Literal["held_out_host", "held_out_sample", "held_out_time"]


class SideSummary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one side holds, in windows."""

    episodes: int
    windows: int
    phases: dict[str, int]
    profiles: dict[str, int]
    hosts: dict[str, int]


class Split(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which episodes a model may learn from, be tuned by, and be judged by. Episode ids, sorted."""

    recipe: RecipeName
    held_out: tuple[str, ...]
    """What the test side is made of: hosts, `<profile>/<sample>`s, or the moment from which on."""
    held_out_validation: tuple[str, ...]
    embargo_s: int
    dataset_digest: Sha256
    untested_profiles: tuple[str, ...]
    """Profiles that the test side lacks: no score says anything about them."""
    seen_samples: tuple[str, ...]
    """`<profile>/<sample>` of the test side that are also learned from, or tuned by, elsewhere."""
    sides: dict[str, SideSummary]
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    embargoed: tuple[str, ...]
    """Episodes on no side: too close in time to the side that is held out."""

    @property
    def untested_classes(self) -> tuple[str, ...]:
        """Classes that the test side lacks: no score says anything about them."""
        known = dict.fromkeys(name for side in self.sides.values() for name in side.phases)
        return tuple(name for name in known if not self.sides["test"].phases.get(name))

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


class _File(msgspec.Struct, forbid_unknown_fields=True):
    digest: Sha256
    split: Split


def save_split(split: Split, path: Path) -> None:
    """Human-readable JSON with its digest. Raises `StorageError`."""
    whole = _File(digest=split.digest, split=split)
    write_file(path, msgspec.json.format(msgspec.json.encode(whole), indent=1))


def load_split(path: Path, dataset_digest: str) -> Split:
    """A saved split. Raises `MissingError`, `DatasetError` (edited by hand, or of another dataset)."""
    whole = decoded(read_file(path), _File, path, DatasetError, expected="a split", remedy="make it again")
    split = whole.split
    if split.digest != whole.digest:
        raise DatasetError(
            path,
            f"digest {split.digest[:12]}…",
            expected=f"{whole.digest[:12]}…, as it says of itself",
            remedy="make it again, by a recipe and not by hand",
        )
    if split.dataset_digest != dataset_digest:
        raise DatasetError(
            path,
            f"a split of dataset {split.dataset_digest[:12]}…",
            expected=f"of {dataset_digest[:12]}…",
            remedy="split this dataset",
        )
    return split
