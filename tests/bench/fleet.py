"""A simulated fleet on one mosquitto: lag from an event's making to a subscriber, memory and time of the broker.

python -m tests.bench.fleet [--nodes 200] [--seconds 20]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from contracts.shell.broker import parse_broker
from tests.brokers import free_port, program, wait_for_port
from tests.edge.sending import window

_SELF = [sys.executable, "-m", "tests.bench.fleet"]
_STAMP = 20
"""Bytes at a payload's end that say when it was made, by the clock that all processes here share."""


class Members:
    """Subscribers: one, or several that share a subscription."""

    def __init__(self, url: str, count: int) -> None:
        self.lags: list[float] = []
        self.seen: Counter[bytes] = Counter()
        broker = parse_broker(url)
        self._clients = []
        topic = "phasewatch/+/+/+" if count == 1 else "$share/all/phasewatch/+/+/+"
        for number in range(count):
            client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"member-{number}", protocol=mqtt.MQTTv5)
            client.on_message = self._hear
            ready = threading.Event()
            client.on_subscribe = lambda *_, ready=ready: ready.set()
            client.connect(broker.host, broker.port)
            client.loop_start()
            client.subscribe(topic, qos=1)
            ready.wait(10)
            self._clients.append(client)

    def _hear(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        self.lags.append(time.monotonic() - float(message.payload[-_STAMP:]))
        self.seen[message.topic.encode()] += 1

    def close(self) -> None:
        for client in self._clients:
            client.disconnect()
            client.loop_stop()


def send(url: str, nodes: int, hertz: float, seconds: float) -> None:
    """Some nodes, each with a connection of its own; run in processes of their own. hertz: 0 for all that goes."""
    broker = parse_broker(url)
    clients = []
    for node in range(nodes):
        name = f"node-{os.getpid()}-{node}"
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        client.max_inflight_messages_set(20)
        client.connect(broker.host, broker.port)
        client.loop_start()
        payload = window(1, node=name)[3]
        clients.append((client, f"phasewatch/{name}/g/window", payload))
    time.sleep(1)
    print("ready", flush=True)
    sys.stdin.readline()
    sent, began, infos = 0, time.monotonic(), []
    while (now := time.monotonic()) - began < seconds:
        if hertz and sent >= (now - began) * hertz * nodes:
            time.sleep(0.001)
            continue
        client, topic, payload = clients[sent % nodes]
        stamp = f"{time.monotonic():.9f}".rjust(_STAMP).encode()
        infos.append(client.publish(topic, payload + stamp, qos=1))
        sent += 1
        if not hertz and len(infos) > 400:
            infos.pop(0).wait_for_publish(10)
    for info in infos:
        info.wait_for_publish(10)
    print(sent, flush=True)
    for client, _, _ in clients:
        client.disconnect()
        client.loop_stop()


def measure(nodes: int, hertz: float, seconds: float, members: int) -> str:
    """One line."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        settings = Path(folder) / "m.conf"
        settings.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nset_tcp_nodelay true\nuser root\n"
        )
        with subprocess.Popen([str(program("mosquitto")), "-c", str(settings)], stderr=subprocess.DEVNULL) as broker:
            wait_for_port(port)
            url = f"mqtt://127.0.0.1:{port}"
            heard = Members(url, members)
            senders = [
                subprocess.Popen(
                    [*_SELF, "--send", url, str(nodes // 2), str(hertz), str(seconds)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )
                for _ in range(2)
            ]  # fmt: skip
            for sender in senders:
                assert sender.stdout is not None
                assert sender.stdout.readline() == "ready\n"
            before = _cpu(broker.pid)
            for sender in senders:
                assert sender.stdin is not None
                sender.stdin.write("\n")
                sender.stdin.flush()
            sent = sum(int(sender.communicate(timeout=300)[0]) for sender in senders)
            end = time.monotonic() + 30
            while len(heard.lags) < sent and time.monotonic() < end:
                time.sleep(0.1)
            cpu = (_cpu(broker.pid) - before) / seconds
            memory = int(Path(f"/proc/{broker.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            heard.close()
            broker.terminate()
        lags = sorted(heard.lags)
        rate = f"{hertz:g} Hz a node" if hertz else "all that goes"
        who = "1 subscriber" if members == 1 else f"{members} that share a subscription"
        return (
            f"{nodes} nodes, {rate}, {who}: {sent / seconds:.0f} events/s, "
            f"lag p50 {1000 * lags[len(lags) // 2]:.1f} p99 {1000 * lags[len(lags) * 99 // 100]:.1f} ms, "
            f"{sent - len(lags)} lost, broker {memory / 1e6:.0f} MB and {cpu:.0%} of a core"
        )


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--send", nargs=4)
    options = parser.parse_args()
    if options.send:
        url, nodes, hertz, seconds = options.send
        send(url, int(nodes), float(hertz), float(seconds))
        return
    for hertz, members in ((0.2, 1), (2.0, 1), (0.0, 1), (0.0, 3)):
        print(measure(options.nodes, hertz, options.seconds, members), flush=True)


if __name__ == "__main__":
    main()
