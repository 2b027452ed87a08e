"""Counters and gauges of a sampled source (proc, qmp, guest) on the time grid.

Everything is local: a step's value depends on the rows around that step alone, in exact integers up to the last
division. So one live window and a whole recording give the same bits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contracts.features import SECOND
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


def fit_pairs(t_wall: Ints, t_mono: Ints, max_age_ns: int) -> NDArray[np.bool_]:
    """(n - 1,): whether two neighbours are close enough to each other, on clocks that agree."""
    dt = np.diff(t_wall)
    fit: NDArray[np.bool_] = (dt > 0) & (dt <= max_age_ns) & (np.abs(dt - np.diff(t_mono)) <= CLOCK_TOLERANCE_NS)
    return fit


def comparable_pairs(columns: Columns, max_age_ns: int) -> NDArray[np.bool_]:
    """(n - 1,): `fit_pairs` of one epoch."""
    same: NDArray[np.bool_] = columns.epoch[1:] == columns.epoch[:-1]
    return same & fit_pairs(columns.t_wall, columns.t_mono, max_age_ns)


def impossible_rises(columns: Columns, most: Floats, max_age_ns: int) -> NDArray[np.bool_] | None:
    """(F, n - 1): where a counter rose faster than it can, or None if none did. most: (F, 1), raw units per second."""
    rise = np.diff(columns.values, axis=1)
    found: NDArray[np.bool_] = rise > most * (np.diff(columns.t_wall) / SECOND)
    if not found.any():
        return None
    # from what was not observed nothing rises, and clocks that disagree say nothing of a rate
    found &= (columns.values[:, :-1] >= 0) & comparable_pairs(columns, max_age_ns)
    return found


def impossible_levels(columns: Columns, most: Floats) -> NDArray[np.bool_] | None:
    """(F, n): where a gauge stands higher than it can, or None if none does. most: (F, 1), raw units."""
    found: NDArray[np.bool_] = columns.values > most
    return found if found.any() else None


def increases(
    columns: Columns, boundaries: Ints, max_age_ns: int, impossible: NDArray[np.bool_] | None = None
) -> Floats:
    """By how much counters rose in each step of the grid.

    columns: ordered by wall clock, as `around` gives them; boundaries: (S + 1,) Unix ns; impossible: as
    `impossible_rises` gives it. Returns (F, S) float64, NaN = not observed: a counter is interpolated between its rows,
    and a step is observed if every pair of rows that it touches is at most `max_age_ns` apart, of one epoch, and the
    counter was observed, did not go back and did not rise faster than it can.
    """
    t, values = columns.t_wall, columns.values
    if len(t) < 2:
        return np.full((len(values), len(boundaries) - 1), np.nan)
    dt, rise = np.diff(t), np.diff(values, axis=1)
    fit = comparable_pairs(columns, max_age_ns)
    unfit_fields = rise < 0
    absent = values < 0
    if absent.any():
        unfit_fields |= absent[:, 1:] | absent[:, :-1]
    if impossible is not None:
        unfit_fields |= impossible
    # how many unfit pairs lie before each row: one line for all fields, unless they differ
    unfit_pairs = ~fit | unfit_fields if unfit_fields.any() else ~fit[None]
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


def levels(columns: Columns, boundaries: Ints, max_age_ns: int, impossible: NDArray[np.bool_] | None = None) -> Floats:
    """Gauges at the end of each step of the grid, each row held for `max_age_ns`: (F, S) float64, NaN = not observed.

    columns: ordered by wall clock, as `around` gives them; boundaries: (S + 1,) Unix ns; impossible: as
    `impossible_levels` gives it.
    """
    t = columns.t_wall
    if len(t) == 0:
        return np.full((len(columns.values), len(boundaries) - 1), np.nan)
    held = np.searchsorted(t, boundaries[1:], side="left") - 1
    row = np.maximum(held, 0)
    old = (held < 0) | (boundaries[1:] - t[row] > max_age_ns)
    values = columns.values.take(row, axis=1)
    unfit = old | (values < 0)
    if impossible is not None:
        unfit |= impossible.take(row, axis=1)
    return np.where(unfit, np.nan, values)


def clock_steps(columns: Columns) -> Ints:
    """The spans that a step of the wall clock makes doubtful: (k, 3) Unix ns, from, to, known at."""
    dt, dmono = np.diff(columns.t_wall), np.diff(columns.t_mono)
    at = np.flatnonzero(np.abs(dt - dmono) > CLOCK_TOLERANCE_NS)
    if len(at) == 0:
        return np.empty((0, 3), np.int64)
    before, after = columns.t_wall[at], columns.t_wall[at + 1]
    known = np.maximum(columns.arrival[at], columns.arrival[at + 1])
    return np.stack([np.minimum(before, after), np.maximum(before, after), known], axis=1)
