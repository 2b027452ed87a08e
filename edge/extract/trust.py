"""Whether a window may believe its flow records: held against the tap's own packet counters, at one point in time.

Flow records have no heartbeat. An exporter that is away, that watches another guest or that stamps its flows by its own
uptime looks like a quiet guest, which is a class that models predict. So netflow is not observed in a window whose
recent past shows that it cannot be believed. The recent past alone: the agent knows nothing else, and the trainer must
not know more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.features.schema import SECOND, FeatureSchema
from contracts.vocabulary import Doubt
from edge.extract.columns import TAP_FIELDS, Columns, Ints
from edge.extract.sampled import fit_pairs

DOUBTS: tuple[Doubt | None, ...] = (None, "clock", "silent", "doubled")
"""Codes of `flow_doubts`: believed; a tenth of the records cannot be; too few packets for the tap, or too many."""
LOOK_BACK_NS = 40 * SECOND
"""From a window's end: what is looked at begins here ..."""
ARRIVED_NS = 10 * SECOND
"""... and ends here, where the records of honest exporters have arrived (10.3 s after a flow's end at the latest in the
bundled recordings, and windows settle for 3 s)."""
ENOUGH_PACKETS = 50
"""With fewer on the tap there is nothing to judge by."""
LEAST, MOST, SLACK = 0.8, 1.25, 20
"""Packets in flow records per packet on the tap, give or take so many that lie on the edges. In the bundled recordings
the share is 0.77 to 1.19 where the tap saw 50 packets, and 0.82 to 1.11 where it saw 100."""
IMPOSSIBLE_SHARE, IMPOSSIBLE_LEAST = 0.1, 2
_TAP_AGE_NS = SECOND
_CHUNK = 256


@dataclass(frozen=True)
class Flows:
    """What is looked at of flow records, in order of arrival: (n,) int64 each, times in Unix ns; ours: to or from the
    guest; possible: see `edge.extract.possible`."""

    arrival: Ints
    start: Ints
    end: Ints
    packets: Ints
    ours: NDArray[np.bool_]
    possible: NDArray[np.bool_]

    @classmethod
    def of(cls, columns: Columns) -> Flows:
        """From netflow's columns."""
        flow = dict(zip(columns.fields, columns.values, strict=True))
        return cls(
            columns.arrival, flow["start"], flow["end"], flow["packets"], flow["out"] >= 0, flow["possible"] == 1
        )


@dataclass(frozen=True)
class Tap:
    """The tap's packets, both ways together, in order of the wall clock: (n,) int64 each. risen: since the first row;
    unfit: how many pairs of neighbours until here do not compare."""

    t_wall: Ints
    risen: Ints
    unfit: Ints

    @classmethod
    def of(cls, t_wall: Ints, t_mono: Ints, counters: Ints) -> Tap:
        """counters: (2, n) int64."""
        if np.any(t_wall[1:] < t_wall[:-1]):
            order = np.argsort(t_wall, kind="stable")
            t_wall, t_mono, counters = t_wall[order], t_mono[order], counters[:, order]
        rise, there = counters[:, 1:] - counters[:, :-1], counters >= 0
        fit = fit_pairs(t_wall, t_mono, _TAP_AGE_NS)
        for up, seen in zip(rise, there, strict=True):
            fit &= (up >= 0) & seen[1:] & seen[:-1]
        risen, unfit = np.zeros((2, len(t_wall)), np.int64)
        np.cumsum(np.where(fit, rise[0] + rise[1], 0), out=risen[1:])
        np.cumsum(~fit, out=unfit[1:])
        return cls(t_wall, risen, unfit)

    @classmethod
    def of_proc(cls, columns: Columns | None) -> Tap | None:
        """From proc's columns; None where the tap was not watched."""
        if columns is None or len(columns.t_wall) < 2 or not set(TAP_FIELDS) <= set(columns.fields):
            return None
        at = [columns.fields.index(field) for field in TAP_FIELDS]
        return cls.of(columns.t_wall, columns.t_mono, columns.values[at])


def flow_doubts(flows: Flows, tap: Tap | None, ends: Ints, schema: FeatureSchema) -> Ints:
    """(N,) indices into `DOUBTS`, for the windows that end at `ends` ((N,) Unix ns, ascending)."""
    found = np.zeros(len(ends), np.int64)
    for at in range(0, len(ends), _CHUNK):
        some = slice(at, at + _CHUNK)
        found[some] = _doubts(flows, tap, ends[some], schema)
    return found


def arrived_within(flows: Flows, after: Ints, until: Ints, chosen: NDArray[np.bool_] | None = None) -> Ints:
    """How many records (or how many of the `chosen`) arrived in each span (after, until]: (N,)."""
    arrival = np.sort(flows.arrival if chosen is None else flows.arrival[chosen])
    return np.searchsorted(arrival, until, side="right") - np.searchsorted(arrival, after, side="right")


def _doubts(flows: Flows, tap: Tap | None, ends: Ints, schema: FeatureSchema) -> Ints:
    found = np.zeros(len(ends), np.int64)
    if tap is not None:
        first = np.searchsorted(tap.t_wall, ends - LOOK_BACK_NS)
        last = np.searchsorted(tap.t_wall, ends - ARRIVED_NS, side="right") - 1
        some = np.maximum(last, 0), np.minimum(first, len(tap.t_wall) - 1)
        counted = tap.risen[some[0]] - tap.risen[some[1]]
        judged = (last > first) & (tap.unfit[some[0]] == tap.unfit[some[1]]) & (counted >= ENOUGH_PACKETS)
        at = np.flatnonzero(judged)
        if len(at):
            spans = tap.t_wall[first[at]], tap.t_wall[last[at]]
            seen = _packets(flows, *spans, ends[at] + schema.settle_ns)
            found[at[seen < LEAST * counted[at] - SLACK]] = DOUBTS.index("silent")
            found[at[seen > MOST * counted[at] + SLACK]] = DOUBTS.index("doubled")
    if not flows.possible.all():
        span = ends - LOOK_BACK_NS, ends + schema.settle_ns
        bad = arrived_within(flows, *span, ~flows.possible)
        off = (bad >= IMPOSSIBLE_LEAST) & (bad > IMPOSSIBLE_SHARE * arrived_within(flows, *span))
        found[off] = DOUBTS.index("clock")
    return found


def _packets(flows: Flows, lower: Ints, upper: Ints, known_ns: Ints) -> NDArray[np.float64]:
    """Packets of the guest's flows within each span, of the records that had arrived by then: (N,)."""
    near = (flows.end >= lower[0]) & (flows.start <= upper[-1]) & (flows.arrival <= known_ns[-1])
    at = np.flatnonzero(near & flows.ours & flows.possible)
    start, end = flows.start[at], flows.end[at]
    overlap = np.minimum(end, upper[:, None]) - np.maximum(start, lower[:, None])
    known = (overlap >= 0) & (flows.arrival[at] <= known_ns[:, None])
    window, flow = np.nonzero(known)
    lasts = (end - start)[flow]
    share = np.where(lasts == 0, 1.0, overlap[window, flow] / np.maximum(lasts, 1))
    found: NDArray[np.float64] = np.bincount(window, flows.packets[at][flow] * share, len(lower)).astype(np.float64)
    return found
