"""Counters and gauges of a sampled source (proc, qmp, guest) on the time grid.

Everything is local: a step's value depends on the rows around that step alone, in exact integers up to the last
division. So one live window and a whole recording give the same bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.extract.columns import Columns, Ints

Floats = NDArray[np.float64]
CLOCK_TOLERANCE_NS = 250_000_000
"""Wall and monotonic clock may disagree by so much between two rows before it counts as a step of the wall clock."""


def around(columns: Columns, boundaries: Ints) -> Columns:
    """The rows that matter to a grid, in order of the wall clock."""
    t = columns.t_wall
    if np.any(t[1:] < t[:-1]):  # the wall clock went back: order by it, and trust no pair across the seam
        columns = columns.at(np.argsort(t, kind="stable"))
        t = columns.t_wall
    first = int(np.searchsorted(t, boundaries[0], side="right")) - 1
    return columns.at(slice(max(first, 0), int(np.searchsorted(t, boundaries[-1])) + 1))


def increases(columns: Columns, boundaries: Ints, max_age_ns: int) -> Floats:
    """By how much counters rose in each step of the grid.

    columns: ordered by wall clock, as `around` gives them; boundaries: (S + 1,) Unix ns.
    Returns (F, S) float64, NaN = not observed: a counter is interpolated between its rows, and a step is observed if
    every pair of rows that it touches is at most `max_age_ns` apart, of one epoch, and the counter did not go back.
    """
    t, values = columns.t_wall, columns.values
    if len(t) < 2:
        return np.full((len(values), len(boundaries) - 1), np.nan)
    dt, rise = np.diff(t), np.diff(values, axis=1)
    fit = (dt > 0) & (dt <= max_age_ns) & (columns.epoch[1:] == columns.epoch[:-1])
    fit &= np.abs(dt - np.diff(columns.t_mono)) <= CLOCK_TOLERANCE_NS
    fell = rise < 0
    # how many unfit pairs lie before each row: one line for all fields, unless one of them went back
    unfit_pairs = ~fit | fell if fell.any() else ~fit[None]
    bad = np.zeros((len(unfit_pairs), len(t)), np.int32)
    np.cumsum(unfit_pairs, axis=1, out=bad[:, 1:])

    row = np.searchsorted(t, boundaries, side="right") - 1
    outside = (row < 0) | ((row == len(t) - 1) & (t[-1] < boundaries))
    row = np.maximum(row, 0)
    pair = np.minimum(row, len(dt) - 1)
    share = np.where(row == pair, (boundaries - t[row]) / np.maximum(dt[pair], 1), 0.0)
    part = rise.take(pair, axis=1) * share
    whole = np.diff(values.take(row, axis=1), axis=1)
    last = np.minimum(row[1:] + (share[1:] > 0), len(t) - 1)
    unfit = (bad[:, last] != bad[:, row[:-1]]) | outside[1:] | outside[:-1]
    increase = np.diff(part, axis=1)
    increase += whole
    np.copyto(increase, np.nan, where=unfit)
    return increase


def levels(columns: Columns, boundaries: Ints, max_age_ns: int) -> Floats:
    """Gauges at the end of each step of the grid, each row held for `max_age_ns`: (F, S) float64, NaN = not observed.

    columns: ordered by wall clock, as `around` gives them; boundaries: (S + 1,) Unix ns.
    """
    t = columns.t_wall
    if len(t) == 0:
        return np.full((len(columns.values), len(boundaries) - 1), np.nan)
    held = np.searchsorted(t, boundaries[1:], side="left") - 1
    row = np.maximum(held, 0)
    old = (held < 0) | (boundaries[1:] - t[row] > max_age_ns)
    return np.where(old, np.nan, columns.values.take(row, axis=1))


def clock_steps(columns: Columns) -> Ints:
    """The spans that a step of the wall clock makes doubtful: (k, 3) Unix ns, from, to, known at."""
    dt, dmono = np.diff(columns.t_wall), np.diff(columns.t_mono)
    at = np.flatnonzero(np.abs(dt - dmono) > CLOCK_TOLERANCE_NS)
    if len(at) == 0:
        return np.empty((0, 3), np.int64)
    before, after = columns.t_wall[at], columns.t_wall[at + 1]
    known = np.maximum(columns.arrival[at], columns.arrival[at + 1])
    return np.stack([np.minimum(before, after), np.maximum(before, after), known], axis=1)
