"""Each source of each guest, by the very collectors of the agent: opened, read for a moment, and closed."""

from __future__ import annotations

import time
from collections.abc import Iterator

from edge.collectors.base import Collector, SourceError, Taken
from edge.collectors.find import Known
from edge.collectors.netflow import NetflowCollector
from edge.config import Config, Guest
from edge.config.reading import host_and_port
from edge.doctor.steps import Step, fault, note, ok
from edge.session.guests import collectors_of

LOOK_S = 1.5
FLOWS_S = 6.0
"""Exporters send what has happened about three seconds later."""


def guest_steps(guest: Guest) -> Iterator[Step]:
    """Of one guest. The proc collector learns its process from qmp, which stays open meanwhile."""
    known, opened = Known(), []
    try:
        for collector in collectors_of(guest, known):
            name = f"{guest.id} {collector.source}"
            try:
                collector.open()
                opened.append(collector)
                yield _looked_at(name, collector)
            except SourceError as error:
                yield fault(name, str(error), error.remedy)
            except OSError as error:
                yield fault(name, f"{error.strerror or error}", "see the system's log")
            for field, why in collector.notes.items() if collector in opened else ():
                yield note(name, f"without {field}", why)
    finally:
        for collector in opened:
            collector.close()


def _looked_at(name: str, collector: Collector) -> Step:
    taken, took = _read(collector, LOOK_S)
    if not taken:
        remedy = "start the feed in the guest (docs/live.md)" if collector.source == "guest" else "see the source"
        return fault(name, f"open, and no row in {LOOK_S:g} s", remedy)
    lags = [one.lag_ms for one in taken if one.lag_ms is not None]
    lag = f", at most {max(lags):.1f} ms late" if lags else ""
    cost = f", {1000 * took / len(taken):.2f} ms each" if collector.period_s is not None else ""
    return ok(name, f"{len(taken)} rows in {LOOK_S:g} s{cost}{lag}")


def _read(collector: Collector, seconds: float) -> tuple[list[Taken], float]:
    """What came, and how long reading took (with the waiting, where a source brings its rows by itself)."""
    taken: list[Taken] = []
    took, until = 0.0, time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        began = time.monotonic()
        taken += collector.read()
        took += time.monotonic() - began
        if collector.period_s is not None:
            time.sleep(max(0.0, min(left, collector.period_s - (time.monotonic() - began))))
    return taken, took


def netflow_steps(config: Config) -> Iterator[Step]:
    """Of the one port."""
    table = config.netflow
    if table is None:
        yield note("netflow", "not configured", "write [netflow], and start an exporter on the guest's tap")
        return
    name, where = "netflow", f"UDP {table.listen} from {', '.join(table.exporters)}"
    collector = NetflowCollector(*host_and_port(table.listen), table.exporters, {}, lambda _: None)
    try:
        collector.open()
    except SourceError as error:
        yield fault(name, str(error), error.remedy)
        return
    try:
        taken, _ = _read(collector, FLOWS_S)
        counts = collector.counts
        if strangers := counts.get("unknown_exporter"):
            yield fault(name, f"{where}: {strangers} datagrams of others were dropped", "name them in exporters")
        elif counts.get("datagrams"):
            lags = [one.lag_ms for one in taken if one.lag_ms is not None]
            lag = f", {max(lags) / 1000:.1f} s after their end at most" if lags else ""
            yield ok(name, f"{where}: {counts['datagrams']} datagrams, {len(taken)} flows in {FLOWS_S:g} s{lag}")
        else:
            yield note(
                name, f"{where}: open, and nothing came in {FLOWS_S:g} s",
                "start the exporter (docs/live.md), or let the guest talk: a quiet tap exports nothing",
            )  # fmt: skip
    finally:
        collector.close()
