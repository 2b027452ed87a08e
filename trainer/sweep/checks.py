"""What the rows of one source must be like: enough of them, close together, on clocks that make sense.

All of it is vectorised over a few fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from contracts.features.schema import SECOND, feature_schema
from contracts.telemetry.addresses import canonical_address, canonical_addresses
from contracts.telemetry.manifest import Manifest
from contracts.vocabulary import Source
from edge.extract.columns import TAP_FIELDS, Ints, ints_of
from edge.extract.possible import flow_is_possible
from edge.extract.sampled import CLOCK_TOLERANCE_NS
from edge.extract.trust import DOUBTS, Flows, Tap, flow_doubts
from edge.extract.windows import window_ends
from trainer.sweep.reasons import Reason

RATE_HZ: dict[Source, int] = {"proc": 10, "qmp": 2, "guest": 10}
"""What the recorder aims at."""
HELD_NS: dict[Source, int] = {"proc": SECOND, "qmp": 2 * SECOND, "guest": SECOND}
"""Rows further apart than this leave a gap."""
ENOUGH = 0.9
HALF = 0.5
OUTSIDE_NS = 5 * SECOND
OUTSIDE_SHARE = 0.01
FLOW_SLACK_NS = 60 * SECOND
FLOWS_OFF_SHARE = 0.1
FEW_SHARE = 0.05
"""Windows that do not believe their flow records are masked one by one; so few of them say nothing of the episode. A
long flow of uneven speed makes such a window now and then."""
DRIFT = 1e-3
"""Of the time that has passed: clocks of machines drift by a tenth of this at most."""
MOST_HZ: dict[Source, int] = {"proc": 1000, "qmp": 1000, "guest": 1000, "netflow": 2000}
"""Rows per second of the episode that no recorder writes: a bound on what one episode may cost."""
MOST_LABELS = 1000
MOST_WINDOWS = 20_000

FIELDS: dict[Source, tuple[str, ...]] = {
    "proc": ("t_wall_ns", "t_mono_ns", *TAP_FIELDS, "pid", "starttime", "minflt", "main_run_ns", "vcpu_run_ns"),
    "qmp": ("t_wall_ns", "t_mono_ns"),
    "guest": ("t_wall_ns", "t_mono_ns"),
    "netflow": ("t_wall_ns", "recv_wall_ns", "start_wall_ns", "end_wall_ns", "packets", "bytes"),
}
"""What the gates and `identity` look at; all else of a row is checked while it is decoded."""
_SCHEMA = feature_schema()


class Track(dict[str, Ints]):
    """The looked-at fields of one source, (n,) int64 each, in the order of the file."""

    @classmethod
    def of(cls, source: Source, batches: Iterable[Sequence[Any]], guest_addresses: frozenset[str]) -> Track:
        """Batch by batch: the rows themselves are not kept. Flows also get `ours`: 1 if the guest is at one end, 0 if
        it is not, -1 if what stands there is no address."""
        fields, guest = FIELDS[source], canonical_addresses(guest_addresses)
        parts, ours = [np.empty((len(fields), 0), np.int64)], [np.empty(0, np.int64)]
        for batch in batches:
            parts.append(ints_of(batch, fields))
            if source == "netflow":
                ours.append(_ours(batch, guest))
        track = cls(zip(fields, np.concatenate(parts, axis=1), strict=True))
        if source == "netflow":
            track["ours"] = np.concatenate(ours)
        return track

    @property
    def rows(self) -> int:
        return len(self["t_wall_ns"])


def _ours(batch: Sequence[Any], guest: frozenset[str]) -> Ints:
    ends = [list(map(attrgetter(end), batch)) for end in ("src", "dst")]
    known = {text: _side(canonical_address(text), guest) for text in {*ends[0], *ends[1]}}
    src, dst = (np.fromiter(map(known.__getitem__, end), np.int64, len(end)) for end in ends)
    return np.where(np.minimum(src, dst) < 0, -1, np.maximum(src, dst))


def _side(address: str | None, guest: frozenset[str]) -> int:
    return -1 if address is None else int(address in guest)


class SourceFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One source of one episode. seconds: observed, of the episode's duration (for netflow: the duration, by the share
    of the windows that believe it); usable: whether its channels count as observed at all."""

    rows: int
    seconds: float
    longest_gap: float
    usable: bool


def sampled_facts(source: Source, track: Track, manifest: Manifest) -> tuple[SourceFacts, list[Reason]]:
    """proc, qmp or guest."""
    rows = track.rows
    if rows == 0:
        return SourceFacts(0, 0.0, _duration(manifest), False), [Reason("source-empty", source, "no row")]
    start, end, held = manifest.started_wall_ns, manifest.ended_wall_ns, HELD_NS[source]
    wall = np.sort(track["t_wall_ns"])
    edges = np.concatenate([[start], np.clip(wall, start, end), [end]])
    apart = np.diff(edges)
    gaps = apart[apart > held]
    observed = float(apart[apart <= held].sum()) / SECOND
    facts = SourceFacts(rows, observed, float(apart.max()) / SECOND, True)
    return facts, [
        *_clock_faults(source, track),
        *_amount_faults(source, wall, facts, gaps, manifest),
    ]


def _clock_faults(source: Source, track: Track) -> Iterator[Reason]:
    wall, mono = np.diff(track["t_wall_ns"]), np.diff(track["t_mono_ns"])
    back = np.flatnonzero(mono < 0)
    if len(back):
        at = int(back[0])
        yield Reason("clock-backwards", source, f"by {-mono[at] / SECOND:.3f} s at row {at + 2}")
        return
    steps = np.flatnonzero(np.abs(wall - mono) > CLOCK_TOLERANCE_NS)
    if len(steps):
        at = int(steps[0])
        yield Reason("clock-step", source, f"by {(wall[at] - mono[at]) / SECOND:+.3f} s at row {at + 2}")
        return
    since_wall, since_mono = (track[name] - track[name][0] for name in ("t_wall_ns", "t_mono_ns"))
    apart = np.abs(since_wall - since_mono)
    if apart.max() > CLOCK_TOLERANCE_NS and np.any(apart > CLOCK_TOLERANCE_NS + DRIFT * np.abs(since_wall)):
        yield Reason("clock-drift", source, f"{apart.max() / SECOND:.3f} s apart in {since_wall[-1] / SECOND:.0f} s")


def _amount_faults(source: Source, wall: Ints, facts: SourceFacts, gaps: Ints, manifest: Manifest) -> Iterator[Reason]:
    duration = _duration(manifest)
    expected = round(duration * RATE_HZ[source])
    if facts.rows < ENOUGH * expected:
        yield Reason("rows-few", source, f"{facts.rows} rows, {expected} expected")
    if facts.seconds < ENOUGH * duration:
        yield Reason("coverage-low", source, f"{facts.seconds / duration:.0%} of {duration:.0f} s".replace("%", " %"))
    if len(gaps):
        count = f"{len(gaps)} gap{'s' * (len(gaps) > 1)}"
        yield Reason("gap", source, f"{count}, the longest {facts.longest_gap:.1f} s")
    lower, upper = manifest.started_wall_ns - OUTSIDE_NS, manifest.ended_wall_ns + OUTSIDE_NS
    outside = int(np.searchsorted(wall, lower)) + facts.rows - int(np.searchsorted(wall, upper, side="right"))
    if outside > OUTSIDE_SHARE * facts.rows:
        yield Reason("rows-outside", source, f"{outside} of {facts.rows} rows")


def flow_facts(track: Track, proc: Track | None, manifest: Manifest) -> tuple[SourceFacts, list[Reason]]:
    """netflow, by the very rule that extraction and the agent go by, window by window (`edge.extract.trust`)."""
    rows, duration = track.rows, _duration(manifest)
    order = np.argsort(track["recv_wall_ns"], kind="stable")
    wall, arrival, start, end, packets, size, ours = (
        track[name][order]
        for name in ("t_wall_ns", "recv_wall_ns", "start_wall_ns", "end_wall_ns", "packets", "bytes", "ours")
    )
    possible = flow_is_possible(wall, start, end, arrival, packets, size) & (ours >= 0)
    flows = Flows(arrival, start, end, packets, ours == 1, possible)
    tap = None if proc is None or proc.rows < 2 else Tap.of(
        proc["t_wall_ns"], proc["t_mono_ns"], np.stack([proc[name] for name in TAP_FIELDS])
    )  # fmt: skip
    ends = window_ends(manifest.started_wall_ns, manifest.ended_wall_ns, _SCHEMA)[:MOST_WINDOWS]
    doubts = np.bincount(flow_doubts(flows, tap, ends, _SCHEMA), minlength=len(DOUBTS)).tolist()
    lower, upper = manifest.started_wall_ns - FLOW_SLACK_NS, manifest.ended_wall_ns + FLOW_SLACK_NS
    elsewhere = int(np.count_nonzero((arrival < lower) | (arrival > upper)))
    if elsewhere > FLOWS_OFF_SHARE * rows:  # what arrives at another time is missing at this one
        doubts[DOUBTS.index("clock")] += doubts[DOUBTS.index("silent")]
        doubts[DOUBTS.index("silent")] = 0
    reasons = [
        Reason(f"netflow-{doubt}", "netflow", f"in {count} of {len(ends)} windows")
        for doubt, count in zip(DOUBTS[1:], doubts[1:], strict=True)
        if count > FEW_SHARE * len(ends)
    ]
    impossible = int(np.count_nonzero(~possible))
    if impossible and not doubts[DOUBTS.index("clock")]:
        reasons.append(Reason("impossible", "netflow", f"{impossible} of {rows} records"))
    share = doubts[0] / len(ends) if len(ends) else 1.0
    return SourceFacts(rows, share * duration, 0.0, share > 0), reasons


def too_many(source: Source, rows: int, manifest: Manifest) -> str | None:
    """What is wrong with a number of rows that no recorder writes."""
    most = int(MOST_HZ[source] * max(_duration(manifest), 60))
    return f"{rows} rows in {_duration(manifest):.0f} s, {most} at most" if rows > most else None


def _duration(manifest: Manifest) -> float:
    return (manifest.ended_wall_ns - manifest.started_wall_ns) / SECOND
