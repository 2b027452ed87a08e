"""Flow records on the grid, per window: only flows that had arrived by the window's end plus the settle time.

A window knows less of its last seconds than a later window will know of the same seconds, so flows are gridded window
by window. Counting is in integers; sums run in the order of arrival. One window and many give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from contracts.features.channels import Channel
from contracts.features.schema import SECOND, FeatureSchema
from edge.extract.columns import Columns, Ints

Floats = NDArray[np.float64]
Direction = Literal["out", "in"]
SMALL_FLOW_PACKETS = 3
"""A flow of so few packets never got past a handshake."""


class FlowGrid:
    """The flows that some windows may see, as pairs (window, flow), ordered by window and arrival."""

    def __init__(self, columns: Columns, ends: Ints, schema: FeatureSchema) -> None:
        self._shape = len(ends), schema.steps
        self._step_ns, self._horizon = schema.step_ns, schema.flow_horizon_ns // schema.step_ns
        self._window_ns = schema.window_ns
        flow = dict(zip(columns.fields, columns.values, strict=True))
        lower = ends - schema.window_ns
        known = (
            (flow["possible"] == 1)
            & (columns.arrival <= ends[:, None] + schema.settle_ns)
            & (flow["start"] < ends[:, None])
            & (flow["end"] >= lower[:, None] - schema.window_ns)
        )
        self._window, chosen = np.nonzero(known)
        self._flow = {name: column[chosen] for name, column in flow.items()}
        self._start = self._flow["start"] - lower[self._window]  # ns since the window's start, may be negative
        self._end = self._flow["end"] - lower[self._window]
        out = self._flow["out"]
        self._at: dict[Direction, NDArray[np.intp]] = {"out": np.flatnonzero(out == 1), "in": np.flatnonzero(out == 0)}
        self._touched: dict[Direction, tuple[NDArray[np.intp], Ints, Ints]] = {}

    def channel(self, channel: Channel) -> Floats:
        """(N, T) float64 of one flow channel, before its transform."""
        at = self._at[channel.direction]
        if channel.only == "syn":
            at = at[self._flow["syn"][at] == 1]
        elif channel.only == "small":
            at = at[self._flow["packets"][at] <= SMALL_FLOW_PACKETS]
        makers: dict[str, Callable[[], Floats]] = {
            "flow_starts": lambda: self._starts(at),
            "flow_volume": lambda: self._volume(channel.direction, cast(str, channel.field)),
            "flow_distinct": lambda: self._distinct(at, cast(str, channel.field)),
            "flow_duration": lambda: self._duration(channel.direction),
            "flow_start_gap": lambda: self._start_gap(at),
        }
        made: Floats = makers[channel.kind]() / channel.divisor
        return made

    def _starts(self, at: NDArray[np.intp]) -> Floats:
        """Flows that began in the step, per second."""
        at = at[self._start[at] >= 0]
        rate: Floats = self._sum(self._window[at], self._start[at] // self._step_ns) / (self._step_ns / SECOND)
        return rate

    def _volume(self, direction: Direction, field: str) -> Floats:
        """Bytes or packets per second; a flow spreads them evenly from its start to its end."""
        pair, step, overlap = self._under_way(direction)
        duration = self._end[pair] - self._start[pair]
        share = np.where(duration == 0, 1.0, overlap / np.maximum(duration, 1))
        total = self._sum(self._window[pair], step, self._flow[field][pair] * share)
        rate: Floats = total / (self._step_ns / SECOND)
        return rate

    def _duration(self, direction: Direction) -> Floats:
        """Mean duration (s) of the flows under way in the step; 0 when none is."""
        pair, step, _ = self._under_way(direction)
        count = self._sum(self._window[pair], step)
        total = self._sum(self._window[pair], step, (self._end[pair] - self._start[pair]) / SECOND)
        mean: Floats = total / np.maximum(count, 1)
        return mean

    def _distinct(self, at: NDArray[np.intp], field: str) -> Floats:
        """Distinct values among the flows that began in the step or in the steps before it, back to the horizon."""
        windows, steps = self._shape
        began, window, value = self._start[at] // self._step_ns, self._window[at], self._flow[field][at]
        order = np.lexsort((began, value, window))
        began, window, value = began[order], window[order], value[order]
        until = began + self._horizon
        if len(at) > 1:  # the same value again: its first flow counts only until then
            again = (window[1:] == window[:-1]) & (value[1:] == value[:-1])
            until[:-1] = np.where(again, np.minimum(until[:-1], began[1:]), until[:-1])
        first, size = window * (steps + 1), windows * (steps + 1)
        edge = np.bincount(first + np.clip(began, 0, steps), minlength=size)
        edge -= np.bincount(first + np.clip(until, 0, steps), minlength=size)
        distinct: Floats = np.cumsum(edge.reshape(windows, steps + 1)[:, :-1], axis=1).astype(np.float64)
        return distinct

    def _start_gap(self, at: NDArray[np.intp]) -> Floats:
        """Seconds from the last flow's start to the step's end, at most one window."""
        windows, steps = self._shape
        at = at[np.argsort(self._start[at], kind="stable")]  # of those in one step, the last one counts
        last = np.full(windows * steps, -self._window_ns, np.int64)
        step = np.maximum(self._start[at] // self._step_ns, 0)
        last[self._window[at] * steps + step] = np.maximum(self._start[at], -self._window_ns)
        last = np.maximum.accumulate(last.reshape(windows, steps), axis=1)
        step_ends = np.arange(1, steps + 1) * self._step_ns
        return cast(Floats, np.minimum(step_ends - last, self._window_ns) / SECOND)

    def _under_way(self, direction: Direction) -> tuple[NDArray[np.intp], Ints, Ints]:
        """Pairs and the steps that they touch, with the overlap in ns: three arrays of one length."""
        if direction not in self._touched:
            self._touched[direction] = self._steps_touched(self._at[direction])
        return self._touched[direction]

    def _steps_touched(self, at: NDArray[np.intp]) -> tuple[NDArray[np.intp], Ints, Ints]:
        at = at[self._end[at] >= 0]
        lower = np.maximum(self._start[at], 0)
        # a flow that ends on a boundary does not touch the next step, unless it is a single moment
        upper = np.minimum(np.maximum(self._end[at], lower + (self._start[at] == self._end[at])), self._window_ns)
        first, beyond = lower // self._step_ns, -(-upper // self._step_ns)
        count = np.maximum(beyond - first, 0)
        pair = np.repeat(at, count)
        step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
        overlap = np.minimum(np.repeat(upper, count), (step + 1) * self._step_ns) - np.maximum(
            np.repeat(lower, count), step * self._step_ns
        )
        return pair, step, overlap

    def _sum(self, window: NDArray[np.intp], step: Ints, weights: Floats | None = None) -> Floats:
        """Add up per (window, step): (N, T)."""
        windows, steps = self._shape
        return np.bincount(window * steps + step, weights, windows * steps).reshape(windows, steps).astype(np.float64)
