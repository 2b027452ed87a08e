"""What a bundle's model decided on the held-out side, episode by episode: enough to compare two bundles in pairs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.decode import decoded
from contracts.errors import BundleError
from edge import scores
from trainer.dataset.samples import Samples

MEMBER = "held-out.json"


class HeldOut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """episodes: id -> confusion over `classes`, row by row: K * K counts, `[truth * K + decided]`."""

    classes: tuple[str, ...]
    episodes: dict[str, tuple[int, ...]]

    @classmethod
    def of(cls, test: Samples, probabilities: NDArray[np.float32], classes: tuple[str, ...]) -> HeldOut:
        """probabilities: (N, K) of the shipped artifact."""
        names, cluster = np.unique(test.episode_id.astype(str), return_inverse=True)
        found = scores.confusions(test.y, scores.choices(probabilities), cluster.astype(np.int64), len(classes))
        counts = found.reshape(len(names), -1)
        return cls(
            classes=classes,
            episodes={str(name): tuple(map(int, row)) for name, row in zip(names, counts, strict=True)},
        )

    def confusions(self, episodes: list[str]) -> NDArray[np.int64]:
        """(E, K, K) of some of them, in this order."""
        k = len(self.classes)
        return np.array([self.episodes[name] for name in episodes], np.int64).reshape(len(episodes), k, k)


def read_held_out(data: bytes | None, path: Path) -> HeldOut:
    """Raises `BundleError`."""
    where, wanted, remedy = f"{path}:{MEMBER}", "held-out decisions", "build the bundle again"
    if data is None:
        raise BundleError(where, "missing", expected=wanted, remedy=remedy)
    found = decoded(data, HeldOut, where, BundleError, expected=wanted, remedy=remedy)
    cells = len(found.classes) ** 2
    if any(len(row) != cells or min(row) < 0 for row in found.episodes.values()):
        problem = f"a confusion that is not of {len(found.classes)} classes"
        raise BundleError(where, problem, expected=wanted, remedy=remedy)
    return found
