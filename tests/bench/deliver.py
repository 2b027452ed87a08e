"""Delivery: a day of windows through the outbox against a bare paho loop on the same broker, and what a `put` costs."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from contracts.shell.broker import parse_broker
from edge.audit.streams import Report
from edge.deliver.outbox import opened
from edge.session.delivery import Delivery
from tests.brokers import free_port, mosquitto_on
from tests.edge.sending import put_windows, window

DAY = 17_280
_IN_FLIGHT = 400


def bench_delivery(rounds: int = 3) -> None:
    """In turns, in one run, on one mosquitto; the peer has the same payloads, version and window, and no disk."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with mosquitto_on(free_port(), folder) as url:
            _puts(folder, url)
            ratios = []
            for round_ in range(rounds):
                bare = _bare(url)
                ours, report = _drained(folder / f"outbox{round_}", url)
                ratios.append(ours / bare)
                print(
                    f"drain of a day: {ours:.0f} events/s; bare paho loop: {bare:.0f}; {ratios[-1]:.0%}; audit: "
                    f"{report.events} came, {report.missing} missing, {report.repeats} repeated, {report.violations} "
                    f"break their schema",
                    flush=True,
                )
            print(f"drain against bare paho, median of {rounds}: {statistics.median(ratios):.0%}", flush=True)


def _bare(url: str) -> float:
    """Events a second that a paho loop gets acknowledged (QoS 1, MQTT 5)."""
    broker, payloads = parse_broker(url), [window(number)[3] for number in range(DAY)]
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bare", protocol=mqtt.MQTTv5)
    done, count, connected = threading.Event(), 0, threading.Event()

    def published(*_: object) -> None:
        nonlocal count
        count += 1
        if count == DAY:
            done.set()

    client.on_publish = published
    client.on_connect = lambda *_: connected.set()
    client.max_inflight_messages_set(_IN_FLIGHT)
    client.connect(broker.host, broker.port)
    client.loop_start()
    connected.wait(10)
    began = time.perf_counter()
    for payload in payloads:
        client.publish("phasewatch/bare/g/window", payload, qos=1)
    done.wait(300)
    took = time.perf_counter() - began
    client.disconnect()
    client.loop_stop()
    return DAY / took


def _drained(path: Path, url: str) -> tuple[float, Report]:
    """Events a second from the outbox to their acknowledgement, and what a subscriber got of them."""
    command = [sys.executable, "-m", "edge.cli", "audit", "--broker", url, "--node", "n", "--idle", "2"]
    with opened(path) as outbox:
        put_windows(outbox, 0, DAY)
        delivery = Delivery(outbox, parse_broker(url), "n", lambda _: None)
        while delivery.state != "connected":
            time.sleep(0.0005)
        began = time.perf_counter()
        delivery.wait_empty(300)
        took = time.perf_counter() - began
        # the audit is a load of its own: it hears another day
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as audit:
            assert audit.stderr is not None
            audit.stderr.readline()
            put_windows(outbox, DAY, DAY)
            delivery.wait_empty(300)
            out, _ = audit.communicate(timeout=120)
        delivery.hang_up()
    return DAY / took, msgspec.json.decode(out, type=Report)


def _puts(folder: Path, url: str) -> None:
    """`put` while the drain empties the outbox at once, as it does live."""
    with opened(folder / "puts") as outbox:
        delivery = Delivery(outbox, parse_broker(url), "n", lambda _: None)
        took = []
        for number in range(5000):
            began = time.perf_counter()
            put_windows(outbox, number, 1)
            took.append(1000 * (time.perf_counter() - began))
            time.sleep(0.001)
        delivery.wait_empty(60)
        delivery.hang_up()
    took.sort()
    synced = _sync_ms(folder)
    print(
        f"put: p50 {took[2500]:.3f}, p99 {took[4950]:.3f}, most {took[-1]:.1f} ms; "
        f"this disk syncs 4 kB in {synced:.3f} ms",
        flush=True,
    )


def _sync_ms(folder: Path) -> float:
    times = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(200):
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


if __name__ == "__main__":
    bench_delivery()
