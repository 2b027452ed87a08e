"""Outbox and publisher, together: a thread of its own takes events from the one to the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence, Set

from contracts.errors import PhasewatchError
from contracts.events.envelope import GAP, encode_event, make_event, topic
from contracts.events.payloads import GapData, Run
from contracts.shell.broker import Broker
from edge.deliver.drain import Drain
from edge.deliver.outbox import Outbox
from edge.deliver.place import Place
from edge.deliver.publisher import MqttPublisher, Retained
from edge.deliver.rows import Event, Loss, Rank

_SESSION = "session"


class Delivery:
    """To one broker, until it hangs up."""

    def __init__(
        self,
        outbox: Outbox,
        broker: Broker,
        node: str,
        took: Callable[[float], None],
        *,
        guests: Callable[[], Sequence[str]] | None = None,
        listen: str | None = None,
    ) -> None:
        """took: is told, per event, the ms from the outbox to the acknowledgement. guests: whose scorecards are sent
        again on every connect (default: of all), as is all else that is retained; and whenever `listen`, a topic, says
        `online`. Raises `ConfigError`."""
        place = Place(node, outbox.fact(_SESSION))
        outbox.note(_SESSION, place.claim.session)

        def greet() -> list[Retained]:
            names = None if guests is None else set(guests())
            return [one for one in map(Retained._make, outbox.retained()) if _concerns(one.topic, node, names)]

        self._publisher = MqttPublisher(broker, node, greet, place=place, listen=listen)
        self._drain = Drain(outbox, self._publisher, took, told)

    @property
    def state(self) -> str:
        """`connected`, or why not."""
        return "connected" if self._publisher.connected else self._publisher.problem

    @property
    def fault(self) -> PhasewatchError | None:
        """What has ended the thread."""
        return self._drain.fault

    def wait_empty(self, seconds: float) -> bool:
        """Whether all was acknowledged within that time. Raises `StorageError` if the outbox is the reason."""
        return self._drain.wait_empty(seconds)

    def hang_up(self) -> None:
        """Say `stopped`. What was not acknowledged stays in the outbox."""
        self._drain.stop()


def _concerns(name: str, node: str, guests: Set[str] | None) -> bool:
    """Whether a topic is ours to send again: an outbox may have served another node, or guests that are gone."""
    first, second, third, *_ = name.split("/")
    return first != "phasewatch" or (second == node and (guests is None or third in guests))


def told(loss: Loss, put_s: float) -> Event:
    """The event that tells a loss."""
    _, _, node, guest, *_ = loss.source.split("/")
    ranges = loss.ranges or []
    count = None if loss.ranges is None else sum(last - first + 1 for first, last in ranges)
    data = GapData(
        stream=loss.source,
        cause=loss.cause,
        ranges=[Run(first=first, last=last) for first, last in ranges],
        count=count,
        why=loss.why,
    )
    now_ns = time.time_ns()
    event = make_event(data, node=node, guest=guest, t_wall_ns=now_ns, schema_hash=loss.schema)
    name, payload = topic(node, guest, GAP), encode_event(event)
    return Event(
        event.source, event.id, name, GAP.qos, GAP.retain, payload, now_ns, put_s, Rank.KEPT, loss.schema, None
    )
