"""Counters and gauges of a sampled source (proc, qmp, guest) on the time grid.

Everything is local: a step's value depends on the rows around that step alone, in exact integers up to the last
division. So one live window and a whole recording give the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.extract.columns import Columns, Ints

CLOCK_TOLERANCE_NS = 250_000_000
"""Wall and monotonic clock may disagree by so much between two rows before it counts as a step of the wall clock."""


@dataclass(frozen=True)
class Grid:
    """One source on the grid. `boundaries`: (S + 1,) Unix ns. Per raw field and step, float64, NaN = not observed:
    `increase`: (F, S), by how much a counter rose; `level`: (F, S), a gauge at the step's end."""

    increase: NDArray[np.float64]
    level: NDArray[np.float64]


def to_grid(columns: Columns, boundaries: Ints, max_age_ns: int) -> Grid:
    """Put a source's raw fields on the grid.

    A counter is interpolated between its rows. A step is observed if every pair of rows that it touches is at most
    `max_age_ns` apart, of one epoch, and the counter did not go back. A gauge holds its last row for `max_age_ns`.
    """
    shape = len(columns.fields), len(boundaries) - 1
    t, epoch, mono, values = columns.t_wall, columns.epoch, columns.t_mono, columns.values
    if len(t) == 0:
        return Grid(np.full(shape, np.nan), np.full(shape, np.nan))
    if np.any(t[1:] < t[:-1]):  # the wall clock went back: order by it, and trust no pair across the seam
        order = np.argsort(t, kind="stable")
        t, epoch, mono, values = t[order], epoch[order], mono[order], values[:, order]
    # only the rows around the grid matter
    rows = slice(
        max(int(np.searchsorted(t, boundaries[0], side="right")) - 1, 0), int(np.searchsorted(t, boundaries[-1])) + 1
    )
    t, epoch, mono, values = t[rows], epoch[rows], mono[rows], values[:, rows]
    dt, dmono = np.diff(t), np.diff(mono)
    rise = np.diff(values, axis=1)
    fit = (dt > 0) & (dt <= max_age_ns) & (epoch[1:] == epoch[:-1]) & (np.abs(dt - dmono) <= CLOCK_TOLERANCE_NS)
    bad = np.zeros(values.shape, np.int32)  # how many unfit pairs lie before each row
    np.cumsum(~fit | (rise < 0), axis=1, out=bad[:, 1:])

    row = np.searchsorted(t, boundaries, side="right") - 1
    past_end = (row == len(t) - 1) & (t[-1] < boundaries)
    outside = (row < 0) | past_end
    row = np.maximum(row, 0)
    if len(dt):
        pair = np.minimum(row, len(dt) - 1)
        share = np.where(row == pair, (boundaries - t[row]) / np.maximum(dt[pair], 1), 0.0)
        part = rise[:, pair] * share
    else:
        share, part = np.zeros(len(boundaries)), np.zeros((shape[0], len(boundaries)))
    whole = np.diff(values[:, row], axis=1)
    last = np.minimum(row[1:] + (share[1:] > 0), len(t) - 1)
    unfit = (bad[:, last] != bad[:, row[:-1]]) | outside[1:] | outside[:-1]
    increase = np.where(unfit, np.nan, whole + np.diff(part, axis=1))

    held = np.searchsorted(t, boundaries[1:], side="left") - 1
    old = (held < 0) | (boundaries[1:] - t[np.maximum(held, 0)] > max_age_ns)
    level = np.where(old, np.nan, values[:, np.maximum(held, 0)])
    return Grid(increase, level)


def clock_steps(columns: Columns) -> Ints:
    """The spans that a step of the wall clock makes doubtful: (k, 3) Unix ns, from, to, known at."""
    dt, dmono = np.diff(columns.t_wall), np.diff(columns.t_mono)
    at = np.flatnonzero(np.abs(dt - dmono) > CLOCK_TOLERANCE_NS)
    before, after = columns.t_wall[at], columns.t_wall[at + 1]
    known = np.maximum(columns.arrival[at], columns.arrival[at + 1])
    return np.stack([np.minimum(before, after), np.maximum(before, after), known], axis=1)
