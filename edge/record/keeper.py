"""One guest's recordings, as the live feed sees them: rows in, jobs for the recorder's thread out."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from contracts.features.schema import SECOND
from contracts.telemetry.rows import Row
from contracts.vocabulary import Source
from edge.record.bounded import Bounded, recorder
from edge.record.evidence import EvidenceKeeper
from edge.record.frames import Batch, batch_of
from edge.record.tee import Tee
from edge.record.writer import Writer
from edge.watch.subject import Subject

_log = logging.getLogger("edge")
FLUSH_NS = 5 * SECOND
"""A power cut costs so much."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What is kept of all guests: where, and within which bounds. part_ns: the length of a tee's parts."""

    writer: Writer
    tee: Bounded | None = None
    part_ns: int = 3600 * SECOND
    evidence: Bounded | None = None


class Keeper:
    """Of one guest. Called by the live feed, in the order in which things happen."""

    def __init__(self, kept: Kept, guest_facts: dict[str, object]) -> None:
        self._kept, self._facts = kept, {**host_facts(), **guest_facts}
        self._rows: dict[Source, list[Row]] = {}
        self._keepers: list[Tee | EvidenceKeeper] = []
        self._evidence: EvidenceKeeper | None = None
        self._lost = False

    def begin(self, subject: Subject) -> None:
        """A watch begins."""
        self._rows = {source: [] for source in subject.sources}
        self._since_ns = self._until_ns = subject.started_wall_ns
        self._due_ns: int | None = None
        if self._kept.tee is not None:
            self._keepers.append(Tee(self._kept.tee, subject, self._facts, recorder(), self._kept.part_ns))
        if self._kept.evidence is not None:
            self._evidence = EvidenceKeeper(self._kept.evidence, subject, self._facts, recorder())
            self._keepers.append(self._evidence)

    def row(self, source: Source, row: Row) -> None:
        """A row that the agent was fed."""
        if source in self._rows:
            self._rows[source].append(row)

    def turn(self, wall_ns: int, mono_ns: int) -> None:
        """Time has passed: every few seconds what there is goes to the thread."""
        self._until_ns = wall_ns
        if self._due_ns is None:
            self._due_ns = mono_ns + FLUSH_NS
        elif mono_ns >= self._due_ns:
            self._due_ns = mono_ns + FLUSH_NS
            self._flush(wall_ns)

    def clock_set(self, before_ns: int, after_ns: int) -> None:
        """What came until now is of another time."""
        self._flush(before_ns)
        for keeper in self._keepers:
            if isinstance(keeper, Tee):
                self._do(partial(keeper.clock_set, before_ns, after_ns))
            else:
                self._do(partial(keeper.cut, before_ns))
        self._since_ns = self._until_ns = after_ns

    def alarm(self, name: str, end_ns: int) -> None:
        """The last seconds go first."""
        self._flush(self._until_ns)
        if self._evidence is not None:
            self._do(partial(self._evidence.alarm, name, end_ns))

    def end(self, wall_ns: int) -> None:
        """The watch is over."""
        self._flush(wall_ns)
        for keeper in self._keepers:
            self._do(partial(keeper.end, wall_ns))

    def _flush(self, until_ns: int) -> None:
        if not self._keepers:
            return
        rows, self._rows = self._rows, {source: [] for source in self._rows}
        job = partial(_hand_over, self._keepers, rows, self._since_ns, until_ns, lost=self._lost)
        self._lost = False
        self._do(job)
        self._since_ns = until_ns

    def _do(self, job: Callable[[], None]) -> None:
        if not self._kept.writer.do(job):
            self._lost = True
            _log.error("the recorder cannot keep up with its disk: some seconds are not recorded")


def _hand_over(
    keepers: Sequence[Tee | EvidenceKeeper], rows: dict[Source, list[Row]], since_ns: int, until_ns: int, *, lost: bool
) -> None:
    batch: Batch | None = None
    try:
        batch = batch_of(rows, since_ns, until_ns)
    finally:
        for keeper in keepers:
            if lost or batch is None:
                keeper.cut(since_ns)
            if batch is not None:
                keeper.take(batch)


def host_facts() -> dict[str, object]:
    """Of this machine, for whoever learns from its recordings."""
    return {"machine": platform.machine(), "kernel": platform.release(), "cpus": os.cpu_count()}
