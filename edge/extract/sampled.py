"""Counters and gauges of a sampled source (proc, qmp, guest) on the time grid.

Everything is local: a step's value depends on the rows around that step alone, in exact integers up to the last
division. So one live window and a whole recording give the same bits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.features.schema import SECOND
from edge.extract.columns import Columns, Ints

Floats = NDArray[np.float64]
CLOCK_TOLERANCE_NS = 250_000_000
"""Wall and monotonic clock may disagree by so much between two rows before it counts as a step of the wall clock."""
_NEVER = np.empty(0, np.int64)


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
    dt = t_wall[1:] - t_wall[:-1]
    off = dt - (t_mono[1:] - t_mono[:-1])
    return (dt > 0) & (dt <= max_age_ns) & (off <= CLOCK_TOLERANCE_NS) & (off >= -CLOCK_TOLERANCE_NS)


class Pairs(NamedTuple):
    """Neighbouring rows. dt: (n - 1,) ns; rise: (F, n - 1); unfit: (F or 1, n - 1), where a rise says nothing;
    impossible: times (Unix ns) of rises that cannot be."""

    dt: Ints
    rise: Ints
    unfit: NDArray[np.bool_]
    impossible: Ints


def pairs_of(columns: Columns, max_age_ns: int, most: Floats) -> Pairs:
    """A pair is fit if its rows are at most `max_age_ns` apart, of one epoch, and the counter was observed, did not go
    back and did not rise faster than it can. most: (F, 1) raw units per second."""
    t, values = columns.t_wall, columns.values
    dt, rise = t[1:] - t[:-1], values[:, 1:] - values[:, :-1]
    fit = fit_pairs(t, columns.t_mono, max_age_ns) & (columns.epoch[1:] == columns.epoch[:-1])
    odd, absent = rise > most * (dt / SECOND), values < 0
    wrong = odd | (rise < 0)
    if not (wrong.any() or absent.any()):
        return Pairs(dt, rise, ~fit[None], _NEVER)
    absent = absent[:, 1:] | absent[:, :-1]
    return Pairs(dt, rise, ~fit[None] | wrong | absent, t[1:][np.nonzero(odd & fit & ~absent)[1]])


def impossible_levels(columns: Columns, most: Floats) -> Ints:
    """Times (Unix ns) of gauges that stand higher than they can. most: (F, 1) raw units."""
    odd = columns.values > most
    return columns.t_wall[np.nonzero(odd)[1]] if odd.any() else _NEVER


def increases(columns: Columns, boundaries: Ints, max_age_ns: int, most: Floats) -> tuple[Floats, Ints]:
    """By how much counters rose in each step of the grid, and the times (Unix ns) of rises that cannot be.

    columns: ordered by wall clock, as `around` gives them; boundaries: (S + 1,) Unix ns; most: (F, 1) raw units per
    second. The first is (F, S) float64, NaN = not observed: a counter is interpolated between its rows, and a step is
    observed if every pair of rows that it touches is fit.
    """
    t, values = columns.t_wall, columns.values
    if len(t) < 2:
        return np.full((len(values), len(boundaries) - 1), np.nan), _NEVER
    dt, rise, unfit_pairs, impossible = pairs_of(columns, max_age_ns, most)
    # how many unfit pairs lie before each row: one line for all fields, unless they differ
    bad = np.zeros((len(unfit_pairs), len(t)), np.int32)
    np.cumsum(unfit_pairs, axis=1, out=bad[:, 1:])

    row = np.searchsorted(t, boundaries, side="right") - 1
    outside = (row < 0) | ((row == len(t) - 1) & (t[-1] < boundaries))
    row = np.maximum(row, 0)
    pair = np.minimum(row, len(dt) - 1)
    share = np.where(row == pair, (boundaries - t[row]) / np.maximum(dt[pair], 1), 0.0)
    part = rise.take(pair, axis=1) * share
    at_row = values.take(row, axis=1)
    last = np.minimum(row[1:] + (share[1:] > 0), len(t) - 1)
    unfit = (bad[:, last] != bad[:, row[:-1]]) | outside[1:] | outside[:-1]
    increase = part[:, 1:] - part[:, :-1]
    increase += at_row[:, 1:] - at_row[:, :-1]
    np.copyto(increase, np.nan, where=unfit)
    return increase, impossible


def levels(columns: Columns, boundaries: Ints, max_age_ns: int, most: Floats) -> tuple[Floats, Ints]:
    """Gauges at the end of each step of the grid, each row held for `max_age_ns`: (F, S) float64, NaN = not observed;
    and the times (Unix ns) of rows that cannot be.

    columns: ordered by wall clock, as `around` gives them; boundaries: (S + 1,) Unix ns; most: (F, 1) raw units.
    """
    t, values = columns.t_wall, columns.values
    if len(t) == 0:
        return np.full((len(values), len(boundaries) - 1), np.nan), _NEVER
    held = np.searchsorted(t, boundaries[1:], side="left") - 1
    row = np.maximum(held, 0)
    unfit = (held < 0) | (boundaries[1:] - t[row] > max_age_ns)
    found = values.take(row, axis=1)
    return np.where(unfit | (found < 0) | (found > most), np.nan, found), impossible_levels(columns, most)


def clock_steps(columns: Columns) -> Ints:
    """The spans that a step of the wall clock makes doubtful: (k, 3) Unix ns, from, to, known at."""
    off = columns.t_wall - columns.t_mono
    at = np.flatnonzero(np.abs(off[1:] - off[:-1]) > CLOCK_TOLERANCE_NS)
    if len(at) == 0:
        return np.empty((0, 3), np.int64)
    before, after = columns.t_wall[at], columns.t_wall[at + 1]
    known = np.maximum(columns.arrival[at], columns.arrival[at + 1])
    return np.stack([np.minimum(before, after), np.maximum(before, after), known], axis=1)
