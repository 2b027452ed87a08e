"""What a window's label is, where a recording has labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.features.schema import FeatureSchema
from contracts.telemetry.rows import LabelRow
from contracts.vocabulary import PHASES
from edge.extract.columns import Ints


@dataclass(frozen=True)
class Truth:
    """label: (N,) int64, index into `PHASES` of the phase at the window's centre, -1 before the first label.
    purity: (N,) float32, the share of the window that lies in that phase."""

    label: Ints
    purity: NDArray[np.float32]


def truth_of(labels: Sequence[LabelRow], ended_wall_ns: int, ends: Ints, schema: FeatureSchema) -> Truth:
    """Labels of the windows that end at `ends` ((N,) Unix ns)."""
    starts = np.array([row.t_wall_ns for row in labels], np.int64)
    phases = np.array([PHASES.index(row.phase) for row in labels] + [-1], np.int64)
    bounds = np.append(starts, ended_wall_ns)
    upper, lower = ends, ends - schema.window_ns
    at = np.searchsorted(starts, ends - schema.window_ns // 2, side="right") - 1  # -1 picks the last: no phase
    label = phases[at]
    overlap = np.minimum(upper[:, None], bounds[1:]) - np.maximum(lower[:, None], bounds[:-1])
    within = np.where(phases[:-1] == label[:, None], np.maximum(overlap, 0), 0).sum(axis=1)
    return Truth(label, np.where(label < 0, 0, within / schema.window_ns).astype(np.float32))
