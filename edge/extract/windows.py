"""Columns to windows: the same function for one live window and for all of a recording."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contracts.errors import ConfigError
from contracts.features.channels import SampledKind
from contracts.features.schema import SECOND, FeatureSchema
from contracts.vocabulary import SOURCES, Doubt, Source
from edge.extract.columns import Columns, Ints, fields_of
from edge.extract.flows import FlowGrid
from edge.extract.sampled import (
    Floats,
    around,
    clock_steps,
    impossible_levels,
    increases,
    levels,
    pairs_of,
)
from edge.extract.trust import DOUBTS, Flows, Tap, arrived_within, flow_doubts

_UNBOUNDED = 1e30
_CHUNK = 256
"""Windows gridded at once: bounds the memory that a long recording takes."""
_FLOW_STEPS = 20_000_000
"""Pairs of a flow and a step of some window at once: bounds the memory that many long flows take."""


@dataclass(frozen=True)
class Windows:
    """Extracted windows.

    ends: (N,) int64, Unix ns.
    tensor: (N, C, T) float32, NaN = not observed; channels as in the schema, transformed.
    mask: (N, C, T) bool, True = observed.
    clock_step: (N,) bool, the wall clock jumped inside the window.
    doubts: per source that can be doubted, (N,) indices into `edge.extract.trust.DOUBTS`; a source that is not believed
    is not observed.
    impossible: per source, (N,) how many readings cannot be (or flow records, by arrival); they are left out.
    """

    ends: Ints
    tensor: NDArray[np.float32]
    mask: NDArray[np.bool_]
    clock_step: NDArray[np.bool_]
    doubts: dict[Source, Ints]
    impossible: dict[Source, Ints]

    def doubt(self, source: Source, window: int) -> Doubt | None:
        """Why a window does not believe a source, if so."""
        return DOUBTS[self.doubts[source][window]] if source in self.doubts else None


def window_ends(started_wall_ns: int, ended_wall_ns: int, schema: FeatureSchema) -> Ints:
    """Ends of the windows that lie wholly inside a span: multiples of the stride in Unix time. (N,) int64."""
    stride = schema.stride_ns
    first = -(-(started_wall_ns + schema.window_ns) // stride) * stride
    return np.arange(first, ended_wall_ns + 1, stride, dtype=np.int64)


class Extractor:
    """Extraction under one schema. Holds nothing but what the schema says: calls are pure."""

    def __init__(self, schema: FeatureSchema) -> None:
        """Raises `ConfigError` for channels that were made elsewhere."""
        self.schema = schema
        for channel in schema.channels:
            if channel.kind == "given":
                raise ConfigError(
                    f"channel {channel.id}",
                    "made elsewhere (kind given)",
                    expected="channels that rows hold",
                    remedy="extract with another registry, or bring arrays",
                )
        kinds: tuple[SampledKind, ...] = ("rate", "level", "change")
        parts = {source: [_Part(schema, source, kind) for kind in kinds] for source in SOURCES if source != "netflow"}
        self._parts: dict[Source, list[_Part]] = {
            source: [part for part in some if len(part.channels)] for source, some in parts.items()
        }
        self._flow_channels = [(i, c) for i, c in enumerate(schema.channels) if c.source == "netflow"]
        self._netflow = np.array([i for i, _ in self._flow_channels], np.intp)

    def extract(self, columns: Mapping[Source, Columns], ends: Ints) -> Windows:
        """Extract the windows that end at `ends` ((N,) Unix ns, multiples of the stride, ascending).

        A source that is absent from `columns` is not observed. Rows that had not arrived by a window's end plus the
        settle time do not count in it.
        """
        schema = self.schema
        tensor = np.full((len(ends), len(schema.channels), schema.steps), np.nan, np.float32)
        impossible = {source: np.zeros(len(ends), np.int64) for source in columns}
        doubts: dict[Source, Ints] = {}
        flows = len(columns["netflow"].t_wall) if "netflow" in columns else 0
        most = min(_CHUNK, max(1, _FLOW_STEPS // max(1, flows * schema.steps)))
        for lower, chunk in self._chunks(ends, most):
            counts = {source: some[lower : lower + len(chunk)] for source, some in impossible.items()}
            self._extract(columns, chunk, tensor[lower : lower + len(chunk)], counts)
        if "netflow" in columns:
            seen = Flows.of(columns["netflow"])
            doubts["netflow"] = flow_doubts(seen, Tap.of_proc(columns.get("proc")), ends, schema)
            tensor[np.ix_(doubts["netflow"] > 0, self._netflow)] = np.nan
            if not seen.possible.all():
                known = ends + schema.settle_ns
                impossible["netflow"] += arrived_within(seen, known - schema.window_ns, known, ~seen.possible)
        doubtful = np.zeros(len(ends), np.bool_)
        for source, some in columns.items():
            if source != "netflow":
                for lower, upper, known in clock_steps(some):
                    spans = (ends >= lower) & (ends - schema.window_ns <= upper)
                    doubtful |= spans & (known <= ends + schema.settle_ns)
        return Windows(ends, tensor, ~np.isnan(tensor), doubtful, doubts, impossible)

    def impossible(self, source: Source, columns: Columns) -> int:
        """How many readings, or flow records, of a whole recording cannot be."""
        if source == "netflow":
            return int(np.count_nonzero(~Flows.of(columns).possible))
        return sum(part.impossible(columns) for part in self._parts[source])

    def _chunks(self, ends: Ints, most: int) -> Iterator[tuple[int, Ints]]:
        """Runs of evenly spaced windows, none too long."""
        breaks = np.flatnonzero(np.diff(ends) != self.schema.stride_ns) + 1
        for run in np.split(np.arange(len(ends)), breaks):
            for lower in range(0, len(run), most):
                part = run[lower : lower + most]
                yield int(part[0]), ends[part]

    def _extract(
        self, columns: Mapping[Source, Columns], ends: Ints, tensor: NDArray[np.float32], impossible: dict[Source, Ints]
    ) -> None:
        """Fill `tensor` (N, C, T) with evenly spaced windows, and count what cannot be."""
        schema = self.schema
        boundaries = np.arange(ends[0] - schema.window_ns, ends[-1] + 1, schema.step_ns, dtype=np.int64)
        for source, some in columns.items():
            if source == "netflow":
                flows = FlowGrid(some, ends, schema)
                for i, channel in self._flow_channels:
                    values = flows.channel(channel)
                    tensor[:, i] = values if channel.transform == "identity" else np.log1p(values)
                continue
            near = around(some.before(int(ends[-1]) + schema.settle_ns), boundaries)
            for part in self._parts[source]:
                windows, times = part.windows(near, boundaries, schema)
                tensor[:, part.channels] = windows.swapaxes(0, 1)
                if len(times):
                    upto = np.searchsorted(np.sort(times), (ends, ends - schema.window_ns), side="right")
                    impossible[source] += upto[0] - upto[1]


class _Part:
    """Channels of one sampled source and one kind, worked out together."""

    def __init__(self, schema: FeatureSchema, source: Source, kind: SampledKind) -> None:
        ours = [(i, c) for i, c in enumerate(schema.channels) if c.source == source and c.kind == kind]
        fields = fields_of(schema.channels, source)
        seconds = schema.step_ns / SECOND if kind == "rate" else 1
        limit = {None: np.inf, "window": schema.window_ns / SECOND}
        self._kind, self._max_age_ns = kind, schema.max_age_ns[source]
        self.channels = np.array([i for i, _ in ours], np.intp)
        self._fields = np.array([fields.index(channel.field or "") for _, channel in ours], np.intp)
        self._divisors = np.array([channel.divisor * seconds for _, channel in ours]).reshape(-1, 1)
        self._limits = np.array([limit[channel.clip] for _, channel in ours]).reshape(-1, 1)
        most = [_UNBOUNDED if channel.most is None else channel.most * channel.divisor for _, channel in ours]
        self._most = np.array(most, np.float64).reshape(-1, 1)
        self._log = np.array([i for i, (_, channel) in enumerate(ours) if channel.transform == "log1p"], np.intp)

    def impossible(self, columns: Columns) -> int:
        """How many of its readings cannot be."""
        some = columns.only(self._fields)
        if self._kind != "rate":
            return len(impossible_levels(some, self._most))
        return len(pairs_of(some, self._max_age_ns, self._most).impossible) if len(some.t_wall) > 1 else 0

    def windows(self, near: Columns, boundaries: Ints, schema: FeatureSchema) -> tuple[Floats, Ints]:
        """(channels, N, T) float64, and the times (Unix ns) of readings that cannot be: they are left out."""
        near = near.only(self._fields)
        if self._kind == "rate":
            lines, impossible = increases(near, boundaries, self._max_age_ns, self._most)
            lines /= self._divisors
        else:
            lines, impossible = levels(near, boundaries, self._max_age_ns, self._most)
            lines = np.minimum(lines / self._divisors, self._limits)
        if self._kind != "change":  # what does not depend on the window is transformed once, not once per window
            lines[self._log] = np.log1p(lines[self._log])  # none of these is negative
        windows = _cut(lines, schema.steps, schema.stride_ns // schema.step_ns)
        if self._kind == "change":
            windows = windows - _first_observed(windows)
            logged = windows[self._log]
            windows[self._log] = np.copysign(np.log1p(np.abs(logged)), logged)
        return windows, impossible


def _cut(lines: Floats, steps: int, stride: int) -> Floats:
    """(n, S) -> (n, N, steps): overlapping views, nothing is copied (numpy's own way takes 50 us to check it)."""
    line, value = lines.strides
    shape = len(lines), (lines.shape[1] - steps) // stride + 1, steps
    return np.ndarray(shape, lines.dtype, lines, strides=(line, stride * value, value))


def _first_observed(windows: Floats) -> Floats:
    """(n, N, T) -> (n, N, 1): each window's first observed value, NaN if it has none."""
    first = np.argmax(~np.isnan(windows), axis=2)[:, :, None]
    return np.take_along_axis(windows, first, axis=2)
