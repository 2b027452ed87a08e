"""Outbox and publisher, together: a thread of its own takes events from the one to the other."""

from __future__ import annotations

from collections.abc import Callable

from contracts.errors import BrokerError, StorageError
from contracts.shell.broker import Broker
from edge.deliver.drain import Drain
from edge.deliver.outbox import Outbox
from edge.deliver.publisher import MqttPublisher


class Delivery:
    """To one broker, until it hangs up."""

    def __init__(self, outbox: Outbox, broker: Broker, node: str, took: Callable[[float], None]) -> None:
        """took: is told, per event, the ms from the outbox to the acknowledgement. Raises `ConfigError`."""
        self._publisher = MqttPublisher(broker, node, lambda: outbox.retained(f"phasewatch/{node}/"))
        self._drain = Drain(outbox, self._publisher, took)

    @property
    def state(self) -> str:
        """`connected`, or why not."""
        return "connected" if self._publisher.connected else self._publisher.problem

    @property
    def fault(self) -> BrokerError | StorageError | None:
        """What has ended the thread."""
        return self._drain.fault

    def wait_empty(self, seconds: float) -> bool:
        """Whether all was acknowledged within that time. Raises `StorageError` if the outbox is the reason."""
        return self._drain.wait_empty(seconds)

    def hang_up(self) -> None:
        """Say `stopped`. What was not acknowledged stays in the outbox."""
        self._publisher.abort()
        self._drain.stop()
        self._publisher.close()
