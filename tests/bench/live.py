"""What watching costs: real guests, all four sources at 10 Hz, beside what is published of Netdata.

    python -m tests.bench.live --bundle B --trust DIR [--guests 1] [--minutes 10]      the agent on real guests
    python -m tests.bench.live --bundle B --trust DIR --soak                           an hour at 20 times the speed

Needs root and what `make system` installs; minutes long, so no part of `make bench`. Netdata's own documentation says
100 to 200 MB and 1 to 5 % of a core for a node (learn.netdata.cloud, "Netdata Agent resource utilization").
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from contracts.bundle.keys import load_trusted_keys
from contracts.events.payloads import Latency, PerfData
from contracts.features.schema import SECOND, feature_schema
from contracts.shell.broker import parse_broker
from contracts.telemetry.episode import read_episode
from contracts.telemetry.rows import Row, arrival_ns
from contracts.vocabulary import Source
from edge.collectors.base import Stamp, Taken
from edge.deliver.drain import Drain
from edge.deliver.outbox import opened
from edge.deliver.publisher import MqttPublisher
from edge.feeds.live import Live
from edge.model.models import Fixed
from edge.model.opened import activate
from edge.record.bounded import Bounded, Bounds
from edge.record.keeper import Keeper, Kept
from edge.record.writer import Writer
from edge.watch.agent import Agent
from edge.watch.health import Health
from edge.watch.subject import Subject
from tests.brokers import free_port, mosquitto_on
from tests.live.lab import Guest, Lab, events
from tests.recordings import ONE

NETDATA = "Netdata: 100-200 MB, 1-5 % of a core"
MB = 1 << 20
SOURCES: tuple[Source, ...] = ("proc", "qmp", "guest", "netflow")


def rss(pid: int) -> int:
    """Bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_s(pid: int) -> float:
    field = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(field[11]) + int(field[12])) / os.sysconf("SC_CLK_TCK")


def watch(folder: Path, bundle: Path, trust: Path, guests: int, minutes: float) -> None:
    """Guests that talk a little, and the agent beside them."""
    with Lab(folder) as lab:
        lab.broker()
        tables = []
        for i in range(guests):
            tap = f"tap{i}"
            lab.ip("tuntap", "add", tap, "mode", "tap")
            lab.ip("addr", "add", f"10.77.{i}.1/24", "dev", tap)
            lab.ip("link", "set", tap, "up")
            lab.sink(f"10.77.{i}.1")
            lab.exporter(tap=tap)
            tables.append(
                f'[[guest]]\nid = "g{i}"\naddresses = ["10.77.{i}.2"]\nqmp = "g{i}/qmp.sock"\ntap = "{tap}"\n'
                f'feed = "g{i}/feed.sock"\n'
            )
        running = [Guest(lab, f"g{i}", tap=f"tap{i}", address=f"10.77.{i}.2") for i in range(guests)]
        for i, guest in enumerate(running):
            guest.wait_up()
            guest.shell(f"(while :; do wget -q -O /dev/null http://10.77.{i}.1:8080/; sleep 1; done) >/dev/null 2>&1 &")
        (folder / "edge.toml").write_text(
            f'node = "n"\n[broker]\nurl = "mqtt://127.0.0.1"\n[bundle]\nfile = "{bundle}"\ntrust = "{trust}"\n'
            f'state = "state"\n[outbox]\nfile = "o"\n[record]\nstore = "store"\n[netflow]\n{"".join(tables)}'
        )
        heard = lab.subscribe()
        agent = lab.agent(folder / "edge.toml")
        agent.says("guest: up", count=guests)
        pid = _python(agent.process.pid)
        began, used = time.monotonic(), cpu_s(pid)
        most = 0
        while time.monotonic() - began < 60 * minutes:
            time.sleep(5)
            most = max(most, rss(pid))
        share = (cpu_s(pid) - used) / (time.monotonic() - began)
        memory = f"RSS {rss(pid) / MB:.1f} MB (most {most / MB:.1f})"
        print(f"{guests} guests, {minutes:g} min: {memory}, {100 * share:.2f} % of a core ({NETDATA})")
        agent.stop()
        stored = sum(path.stat().st_size for path in (folder / "store").rglob("*") if path.is_file())
        print(f"  recorded: {stored / guests / minutes / 60:.0f} bytes/s a guest")
        _figures([msgspec.convert(event["data"], PerfData) for event in events(heard, "/perf")])


def _python(pid: int) -> int:
    """`ip netns exec` becomes the program it starts."""
    assert b"edge.cli" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return pid


def _figures(perfs: list[PerfData]) -> None:
    def shown(some: list[Latency]) -> str:
        whole = [one for one in some if one.p50 is not None and one.p99 is not None]
        if not whole:
            return "nothing"
        p50 = np.median([one.p50 for one in whole if one.p50 is not None])
        return f"p50 {p50:.3f} ms, p99 at most {max(one.p99 or 0 for one in whole):.1f} ms"

    for name in ("extraction_ms", "inference_ms", "publish_ms", "lateness_ms"):
        print(f"  {name[:-3]}: {shown([getattr(perf, name) for perf in perfs if getattr(perf, name)])}")
    for source in SOURCES:
        some = [perf.sources[source] for perf in perfs if source in perf.sources]
        last = some[-1]
        print(
            f"  {source}: read {shown([one.took_ms for one in some])}; lag {shown([one.lag_ms for one in some])}; "
            f"{last.rows} rows, {last.skipped} ticks skipped, {last.late} late"
        )


def soak(folder: Path, bundle: Path, trust: Path, *, hours: float = 1, speed: float = 20) -> None:
    """Rows of a recording over and over, through feed, recorder, outbox and a real broker."""
    schema = feature_schema()
    episode = read_episode(ONE)
    start = time.time_ns()
    active = activate(bundle, schema, load_trusted_keys(trust))
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(mosquitto_on(free_port(), folder))
        outbox = stack.enter_context(opened(folder / "outbox"))
        writer = Writer()
        kept = Kept(
            writer=writer,
            tee=Bounded(folder / "store", "watch", Bounds(bytes=4 * MB)),
            part_ns=300 * SECOND,
            evidence=Bounded(folder / "evidence", "evidence", Bounds(bytes=8 * MB, count=3)),
        )
        drain = Drain(outbox, MqttPublisher(parse_broker(url), "n"), lambda _: None)
        subject = Subject(
            mode="live", host_id="h", guest_id="g", episode_id="g-soak", guest_addresses=frozenset({"10.77.0.2"}),
            sources=SOURCES, started_wall_ns=start, evidence=True,
        )  # fmt: skip
        live = Live(Agent(Fixed(active), schema, node="n", outbox=outbox, health=Health()), subject, Keeper(kept, {}))
        mono = time.monotonic_ns()
        live.begin(Stamp(start, mono))
        began, told = time.monotonic(), 0.0
        rows = _rows(episode.rows, start, mono)
        coming = next(rows)
        while (second := (time.monotonic() - began) * speed) < 3600 * hours:
            at = Stamp(start + round(second * SECOND), mono + round(second * SECOND))
            while coming[1].at.mono_ns <= at.mono_ns:
                live.put(coming[0], [coming[1]])
                coming = next(rows)
            live.turn(at)
            if second >= told:
                told += 600
                disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                print(f"{second / 60:3.0f} min: RSS {rss(os.getpid()) / MB:.1f} MB, {len(os.listdir('/proc/self/fd'))} "  # noqa: PTH208 - no paths wanted
                      f"files open, {disk / MB:.1f} MB on disk, {outbox.depth} events wait")  # fmt: skip
            time.sleep(0.01)
        live.end(at)
        writer.close(30)
        drain.wait_empty(30)
        drain.stop()
        print(f"rows that came too late: {sum(live.late.values())}")


def _rows(recorded: dict[Source, list[Row]], wall: int, mono: int) -> Iterator[tuple[Source, Taken]]:
    """Without end: a recording again and again, a new process each time."""
    every = [(source, row) for source, rows in recorded.items() for row in rows]
    once = sorted(((arrival_ns(row), source, row) for source, row in every), key=lambda one: one[0])
    first, span = once[0][0], once[-1][0] - once[0][0] + SECOND
    names = ("t_wall_ns", "recv_wall_ns", "start_wall_ns", "end_wall_ns")
    turn = 0
    while True:
        for t, source, row in once:
            after = t - first + turn * span
            moved = {name: getattr(row, name) - first + turn * span + wall for name in names if hasattr(row, name)}
            moved["t_mono_ns"] = mono + after
            if hasattr(row, "starttime"):
                moved["starttime"] = row.starttime + turn
            yield source, Taken(msgspec.structs.replace(row, **moved), Stamp(wall + after, mono + after))
        turn += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--trust", type=Path, required=True)
    parser.add_argument("--guests", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--soak", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if options.soak:
            soak(Path(name), options.bundle.absolute(), options.trust.absolute())
        else:
            watch(Path(name), options.bundle.absolute(), options.trust.absolute(), options.guests, options.minutes)


if __name__ == "__main__":
    main()
