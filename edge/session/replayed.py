"""One run of `edge replay`: open everything in order, and close it in the reverse."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from contracts.errors import BrokerError, BusyError, StorageError
from contracts.features.schema import FeatureSchema
from contracts.shell.broker import Broker
from contracts.telemetry.episode import read_episode
from edge.deliver.outbox import opened
from edge.feeds.replay import replay, watches
from edge.model.models import Models
from edge.session.delivery import Delivery
from edge.watch.agent import Agent
from edge.watch.health import Health


def replay_all(
    *,
    episodes: Sequence[Path],
    models: Models,
    broker: Broker,
    schema: FeatureSchema,
    allow_missing: bool,
    speed: float | None,
    node: str,
    outbox_path: Path,
    drain_timeout: float,
) -> int:
    """Replay recordings through a bundle. Returns 0.

    Raises `BrokerError` if events had to stay in the outbox, `StorageError` if they could not even get there,
    `BusyError` if another agent has this node's name.
    """
    for path in episodes:  # a bad recording is said before the first event, not in the middle
        read_episode(path, allow_missing=allow_missing)
    with opened(outbox_path) as outbox:
        if outbox.depth:
            _say(f"{outbox.depth} events of an earlier run go first")
        health = Health()
        delivery = Delivery(outbox, broker, node, health.publish.add)
        try:
            agent = Agent(models, schema, node=node, outbox=outbox, health=health)
            for first, *more in watches(episodes):
                parts = (read_episode(path, allow_missing=allow_missing) for path in more)
                replay(agent, read_episode(first, allow_missing=allow_missing), schema, speed, parts)
            drained = delivery.wait_empty(drain_timeout)
        finally:
            delivery.hang_up()
        total = health.total.take()
        _say(
            f"{len(episodes)} episodes, {total.count} windows through {models.active.runtime.name}, "
            f"{total.p50} ms each from rows to outbox (median)"
        )
        if isinstance(delivery.fault, StorageError | BusyError):
            raise delivery.fault
        if not drained:
            raise BrokerError(
                broker.url,
                f"{delivery.state}; {outbox.depth} events are kept in {outbox_path}",
                expected="an MQTT broker",
                remedy="once it takes them, the next replay sends them first",
            )
        if aside := outbox.aside():
            raise BrokerError(
                broker.url,
                f"{len(aside)} events are refused ({aside[0].why}) and set aside in {outbox_path}",
                expected="a broker that takes them",
                remedy="mend its rules or limits; see edge outbox list",
            )
    return 0


def _say(line: str) -> None:
    print(f"edge: {line}", file=sys.stderr, flush=True)
