"""A process that sends windows of one guest, through a real outbox to a broker. For faults that are done to it.

python -m tests.edge.sending OUTBOX URL FIRST COUNT [--keep-alive S] [--pause S]
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

from contracts.events.envelope import encode_event, make_event
from contracts.events.payloads import BundleRef, WindowData
from contracts.shell.broker import parse_broker
from contracts.vocabulary import PHASES, SOURCES
from edge.deliver import line
from edge.deliver.outbox import Outbox, opened
from edge.deliver.rows import Rank
from edge.session.delivery import Delivery

STRIDE_NS = 5_000_000_000
BUNDLE = BundleRef(
    name="gbt-realistic-0123456789ab", digest="0123456789ab" + "0" * 52, runtime="treelite", key="trainer"
)
HASH = "a" * 64


def window(number: int, guest: str = "g", node: str = "n", largely: int = 300) -> tuple[str, str, str, bytes]:
    """Source, id, topic and payload of a window as real ones are, but for its size."""
    data = WindowData(
        episode_id=f"{guest}-20261128T000000Z", bundle=BUNDLE, start_wall_ns=number * STRIDE_NS,
        end_wall_ns=number * STRIDE_NS + 10_000_000_000, probabilities=dict.fromkeys(PHASES, 0.2), decided="clean",
        alarm=False, truth=None, purity=None, observed=dict.fromkeys(SOURCES, 1.0), top_channels=[], flags=[],
        evidence="x" * largely,
    )  # fmt: skip
    event = make_event(data, node=node, guest=guest, t_wall_ns=number * STRIDE_NS, schema_hash=HASH)
    return event.source, event.id, f"phasewatch/{node}/{guest}/window", encode_event(event)


def put_windows(outbox: Outbox, first: int, count: int, guest: str = "g", node: str = "n", largely: int = 300) -> None:
    for number in range(first, first + count):
        source, event_id, topic, payload = window(number, guest, node, largely)
        outbox.put(
            source=source, event_id=event_id, topic=topic, qos=1, retain=False, payload=payload, rank=Rank.WINDOW,
            schema=HASH, bundle=BUNDLE.name,
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("outbox", type=Path)
    parser.add_argument("url")
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--keep-alive", type=int, default=30)
    parser.add_argument("--pause", type=float, default=0.0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    line.KEEP_ALIVE_S = options.keep_alive
    with opened(options.outbox) as outbox:
        delivery = Delivery(outbox, parse_broker(options.url), "n", lambda _: None)
        for number in range(options.first, options.first + options.count):
            put_windows(outbox, number, 1)
            time.sleep(options.pause)
        print("put", flush=True)
        drained = delivery.wait_empty(300)
        delivery.hang_up()
    print("drained" if drained else "not drained", flush=True)


if __name__ == "__main__":
    main()
