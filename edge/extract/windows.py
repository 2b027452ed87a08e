"""Columns to windows: the same function for one live window and for all of a recording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.features import FeatureSchema
from contracts.phases import SOURCES, Source
from edge.extract.columns import Columns, Ints
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
        self._of_source = {
            source: [(i, c) for i, c in enumerate(schema.channels) if c.source == source] for source in SOURCES
        }
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
                for start, end in clock_steps(some):
                    doubtful |= (ends >= start) & (ends - schema.window_ns <= end)
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
                for i, channel in self._of_source[source]:
                    values[:, i] = flows.channel(channel)
                continue
            known = some.before(int(ends[-1]) + schema.settle_ns)
            grid = to_grid(known, boundaries, schema.max_age_ns[source])
            for i, line in self._channels(source, some.fields, grid):
                values[:, i] = line[at]
            for i, channel in self._of_source[source]:
                if channel.kind == "change":
                    values[:, i] -= _first_observed(values[:, i])
        logged = values[:, self._log]
        values[:, self._log] = np.copysign(np.log1p(np.abs(logged)), logged)
        return values

    def _channels(
        self, source: Source, fields: tuple[str, ...], grid: Grid
    ) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Each sampled channel's index and its line along the grid, (S,) float64."""
        seconds = self.schema.step_ns / 1e9
        for i, channel in self._of_source[source]:
            field = fields.index(channel.field or "")
            if channel.kind == "rate":
                yield i, grid.increase[field] / (channel.divisor * seconds)
            else:
                line = grid.level[field] / channel.divisor
                yield i, np.minimum(line, self.schema.window_ns / 1e9) if channel.clip else line


def _first_observed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, T) -> (N, 1): each window's first observed value, NaN if it has none."""
    first = np.argmax(~np.isnan(values), axis=1)
    found: NDArray[np.float64] = values[np.arange(len(values)), first][:, None]
    return found
