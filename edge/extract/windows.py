"""Columns to windows: the same function for one live window and for all of a recording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.channels import Channel
from contracts.features import SECOND, FeatureSchema
from contracts.phases import SOURCES, Source
from edge.extract.columns import Columns, Ints, fields_of
from edge.extract.flows import FlowGrid
from edge.extract.sampled import Grid, clock_steps, to_grid

_CHUNK = 256
"""Windows gridded at once: bounds the memory that a long recording takes."""


@dataclass(frozen=True)
class Windows:
    """Extracted windows.

    ends: (N,) int64, Unix ns.
    tensor: (N, C, T) float32, NaN = not observed; channels as in the schema, transformed.
    mask: (N, C, T) bool, True = observed.
    clock_step: (N,) bool, the wall clock jumped inside the window.
    """

    ends: Ints
    tensor: NDArray[np.float32]
    mask: NDArray[np.bool_]
    clock_step: NDArray[np.bool_]


def window_ends(started_wall_ns: int, ended_wall_ns: int, schema: FeatureSchema) -> Ints:
    """Ends of the windows that lie wholly inside a span: multiples of the stride in Unix time. (N,) int64."""
    stride = schema.stride_ns
    first = -(-(started_wall_ns + schema.window_ns) // stride) * stride
    return np.arange(first, ended_wall_ns + 1, stride, dtype=np.int64)


class Extractor:
    """Extraction under one schema. Holds nothing but what the schema says: calls are pure."""

    def __init__(self, schema: FeatureSchema) -> None:
        self.schema = schema
        self._plans = {source: _Plan.of(schema, source) for source in SOURCES if source != "netflow"}
        self._flow_channels = [(i, c) for i, c in enumerate(schema.channels) if c.source == "netflow"]
        log = np.array([channel.transform == "log1p" for channel in schema.channels])
        self._log = np.flatnonzero(log)

    def extract(self, columns: Mapping[Source, Columns], ends: Ints) -> Windows:
        """Extract the windows that end at `ends` ((N,) Unix ns, multiples of the stride, ascending).

        A source that is absent from `columns` is not observed. Rows that had not arrived by a window's end plus the
        settle time do not count in it.
        """
        schema = self.schema
        tensor = np.full((len(ends), len(schema.channels), schema.steps), np.nan, np.float32)
        for lower, chunk in self._chunks(ends):
            tensor[lower : lower + len(chunk)] = self._extract(columns, chunk)
        doubtful = np.zeros(len(ends), np.bool_)
        for source, some in columns.items():
            if source != "netflow":
                for lower, upper, known in clock_steps(some):
                    spans = (ends >= lower) & (ends - schema.window_ns <= upper)
                    doubtful |= spans & (known <= ends + schema.settle_ns)
        return Windows(ends, tensor, ~np.isnan(tensor), doubtful)

    def _chunks(self, ends: Ints) -> Iterator[tuple[int, Ints]]:
        """Runs of evenly spaced windows, none too long."""
        breaks = np.flatnonzero(np.diff(ends) != self.schema.stride_ns) + 1
        for run in np.split(np.arange(len(ends)), breaks):
            for lower in range(0, len(run), _CHUNK):
                part = run[lower : lower + _CHUNK]
                yield int(part[0]), ends[part]

    def _extract(self, columns: Mapping[Source, Columns], ends: Ints) -> NDArray[np.float64]:
        schema = self.schema
        values = np.full((len(ends), len(schema.channels), schema.steps), np.nan)
        step, stride_steps = schema.step_ns, schema.stride_ns // schema.step_ns
        boundaries = np.arange(ends[0] - schema.window_ns, ends[-1] + 1, step, dtype=np.int64)
        at = np.arange(len(ends))[:, None] * stride_steps + np.arange(schema.steps)
        for source, some in columns.items():
            if source == "netflow":
                flows = FlowGrid(some, ends, schema)
                for i, channel in self._flow_channels:
                    values[:, i] = flows.channel(channel)
                continue
            plan = self._plans[source]
            known = some.before(int(ends[-1]) + schema.settle_ns)
            grid = to_grid(known, boundaries, schema.max_age_ns[source])
            for at_channels, lines in plan.lines(grid):
                values[:, at_channels] = lines[:, at].swapaxes(0, 1)
            for i in plan.changes:
                values[:, i] -= _first_observed(values[:, i])
        logged = values[:, self._log]
        values[:, self._log] = np.copysign(np.log1p(np.abs(logged)), logged)
        return values


@dataclass(frozen=True)
class _Plan:
    """Which channels one sampled source fills, from which of its fields; worked out once, not per window."""

    rates: NDArray[np.intp]
    rate_fields: NDArray[np.intp]
    rate_divisors: NDArray[np.float64]
    levels: NDArray[np.intp]
    level_fields: NDArray[np.intp]
    level_divisors: NDArray[np.float64]
    level_limits: NDArray[np.float64]
    changes: list[int]

    @classmethod
    def of(cls, schema: FeatureSchema, source: Source) -> _Plan:
        fields = fields_of(schema.channels, source)
        ours = [(i, channel) for i, channel in enumerate(schema.channels) if channel.source == source]
        rates = [(i, channel) for i, channel in ours if channel.kind == "rate"]
        levels = [(i, channel) for i, channel in ours if channel.kind != "rate"]

        def columns(some: list[tuple[int, Channel]]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
            index = np.array([i for i, _ in some], np.intp)
            return index, np.array([fields.index(channel.field or "") for _, channel in some], np.intp)

        seconds = schema.step_ns / SECOND
        limit = {None: np.inf, "window": schema.window_ns / SECOND}
        return cls(
            *columns(rates),
            np.array([channel.divisor * seconds for _, channel in rates]).reshape(-1, 1),
            *columns(levels),
            np.array([float(channel.divisor) for _, channel in levels]).reshape(-1, 1),
            np.array([limit[channel.clip] for _, channel in levels]).reshape(-1, 1),
            [i for i, channel in ours if channel.kind == "change"],
        )

    def lines(self, grid: Grid) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float64]]]:
        """Channels and their lines along the grid, (n, S) float64, in the channel's unit."""
        yield self.rates, grid.increase[self.rate_fields] / self.rate_divisors
        yield self.levels, np.minimum(grid.level[self.level_fields] / self.level_divisors, self.level_limits)


def _first_observed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, T) -> (N, 1): each window's first observed value, NaN if it has none."""
    first = np.argmax(~np.isnan(values), axis=1)
    found: NDArray[np.float64] = values[np.arange(len(values)), first][:, None]
    return found
