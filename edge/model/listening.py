"""What a bundle says of how its model is to be listened to, checked: its filter, and what it has seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.bundle.archive import Bundle, document
from contracts.bundle.familiar import CENTRES, MEMBER, Familiar
from contracts.bundle.filter import Filter
from contracts.errors import BundleError
from contracts.events.payloads import Nearest
from edge.familiar import nearest, p_values, standardised

_MOST = 10_000
_OFF = 1e-3


def sound(spec: Filter, phases: int) -> bool:
    """Whether a filter is one over so many phases."""
    start, step = np.array(spec.start), spec.transitions
    rows = [start, *map(np.array, step)]
    square = len(step) == phases and all(len(row) == phases for row in rows)
    return square and all(abs(float(row.sum()) - 1) < _OFF for row in rows) and spec.clear_below <= spec.raise_at


@dataclass(frozen=True, eq=False)
class Familiarity:
    """centres: (M, V) float64; distances: (T,) ascending."""

    profiles: tuple[str, ...]
    tested: frozenset[str]
    centres: NDArray[np.float64]
    distances: NDArray[np.float64]
    scale: tuple[NDArray[np.float64], NDArray[np.float64]]

    def of(self, levels: NDArray[np.float64]) -> Nearest:
        """What a window is least unlike. levels: (V,), NaN = nothing observed."""
        distance, which = nearest(standardised(levels[None], *self.scale), self.centres)
        profile = self.profiles[int(which[0])]
        p = float(p_values(distance, self.distances)[0])
        return Nearest(profile=profile, tested=profile in self.tested, p=round(p, 6))


def familiarity_of(bundle: Bundle, scale: tuple[NDArray[np.float64], NDArray[np.float64]]) -> Familiarity | None:
    """scale: (V,) means and deviations of the training side. None in older bundles. Raises `BundleError`."""
    if MEMBER not in bundle.members:
        return None
    found, data = document(bundle, MEMBER, Familiar), bundle.members.get(CENTRES, b"")
    windows, channels = len(found.profiles), len(bundle.manifest.channels)
    tuned = np.array(found.distances, np.float64)
    whole = len(data) == 2 * windows * channels and 0 < windows <= _MOST and len(tuned) <= _MOST
    if not whole or not np.isfinite(np.frombuffer(data, "<f2")).all() or (np.diff(tuned) < 0).any():
        raise BundleError(
            f"{bundle.path}:{MEMBER}",
            f"{windows} windows in {len(data)} bytes, {len(tuned)} distances",
            expected=f"finite float16 levels of {channels} channels for each window, and distances in ascending order",
            remedy="build the bundle again",
        )
    centres = np.frombuffer(data, "<f2").reshape(windows, channels).astype(np.float64)
    return Familiarity(found.profiles, frozenset(found.tested), centres, tuned, scale)
