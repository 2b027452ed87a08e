"""`edge run`: guests that run now, until somebody says stop.

One loop takes what the collectors have brought, looks at the windows that have settled, and tells systemd that it is
alive: where it hangs, the service's watchdog ends the process.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import BusyError, ConfigError, PhasewatchError, StorageError
from contracts.features.schema import SECOND, FeatureSchema
from contracts.shell.broker import Broker
from contracts.shell.memory import be_frugal, give_back
from contracts.shell.paths import outbox_path
from edge.collectors.base import now
from edge.collectors.netflow import NetflowCollector
from edge.collectors.supervise import Supervised
from edge.config import Config
from edge.config.reading import host_and_port
from edge.deliver import rows as bounds
from edge.deliver.outbox import Outbox, opened
from edge.model.models import Models
from edge.notify import Notifier
from edge.record.bounded import Bounded, Bounds
from edge.record.evidence import KIND
from edge.record.keeper import Kept
from edge.record.writer import Writer
from edge.session.boots import Boots
from edge.session.delivery import Delivery
from edge.session.guests import Guests, Shared
from edge.session.homeassistant import announce, status_topic
from edge.session.scraped import Scraped
from edge.session.signals import Signals
from edge.session.site import broker_of, bundle_of, state_of
from edge.session.status import EVERY_S, remove_status, status_of, write_status

_log = logging.getLogger("edge")
TURN_S = 0.2
SET_SINCE_NS = 1_735_689_600 * SECOND
"""The year 2025: a clock that shows less is not set yet."""
_MB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Start:
    """What `edge run` was told. read: the configuration, anew at each reload; models: opens what watches; waits: for a
    bundle and for guests, where there are none yet."""

    read: Callable[[], Config]
    node: str
    schema: FeatureSchema
    models: Callable[[Config], Models]
    drain_s: float
    waits: bool = False


class Running:
    """One agent."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._config = start.read()
        self._broker = broker_of(self._config)
        self._notifier = Notifier()
        self._told = Signals()

    def run(self) -> int:
        """Until SIGTERM or SIGINT; returns 0. Raises `BrokerError`, `StorageError` and what opening a bundle raises."""
        be_frugal()
        with self._told.heard():
            if not self._bundle_is_there():
                return 0
            models = self._start.models(self._config)
            try:
                self._notifier.ready()
                if self._clock_is_set():
                    self._watch(models)
            finally:
                models.close()
        return 0

    def _watch(self, models: Models) -> None:
        config = self._config
        path = outbox_path() if config.outbox.file is None else Path(config.outbox.file)
        with contextlib.ExitStack() as stack:
            most = bounds.Bounds(bytes=config.outbox.most_mb * _MB, seconds=config.outbox.most_days * 86_400)
            outbox = stack.enter_context(opened(path, most))
            kept = self._kept(stack)
            self._guests = Guests(self._start.node, Shared(models, self._start.schema, outbox, kept), now)
            self._deliver(outbox, config, self._broker)
            try:
                self._listen(config)
                self._scrape(config)
                self._use(outbox, config)
                self._loop(outbox)
            finally:
                self._notifier.stopping()
                self._guests.end()
                self._quiet()
                self._delivery.wait_empty(self._start.drain_s)
                self._delivery.hang_up()
                remove_status(self._state)
            if isinstance(self._delivery.fault, StorageError | BusyError):
                raise self._delivery.fault
            if outbox.depth:
                _log.warning("%d events are kept in %s: the next run sends them first", outbox.depth, path)
            if aside := len(outbox.aside()):
                _log.warning(
                    "%d events are refused by the broker and set aside in %s; see edge outbox list", aside, path
                )

    def _loop(self, outbox: Outbox) -> None:
        told = 0.0
        while not self._told.stopping:
            began = time.monotonic()
            self._guests.turn(now())
            self._notifier.alive()
            if self._told.reloading:
                self._reload(outbox)
            if self._delivery.fault is not None:
                raise self._delivery.fault
            if began - told >= EVERY_S / 10:
                status = status_of(self._guests.watched, self._start.node, self._delivery.state, outbox.depth)
                self._notifier.status(status.sentence)
                if began - self._written >= EVERY_S:
                    self._written = began
                    give_back()
                    with contextlib.suppress(StorageError):  # it is a convenience
                        write_status(self._state, status)
                told = began
            time.sleep(max(0.0, TURN_S - (time.monotonic() - began)))

    _written = -EVERY_S

    def _watched_now(self) -> list[str]:
        return [one.guest.id for one in self._guests.watched]

    def _deliver(self, outbox: Outbox, config: Config, broker: Broker) -> None:
        def took(milliseconds: float) -> None:
            for one in self._guests.watched:
                one.health.publish.add(milliseconds)

        if outbox.depth:
            _log.info("%d events that wait go first", outbox.depth)
        self._delivery = Delivery(
            outbox,
            broker,
            self._start.node,
            took,
            guests=self._watched_now,
            listen=None if config.homeassistant is None else status_topic(config.homeassistant.prefix),
        )
        self._broker = broker

    def _kept(self, stack: contextlib.ExitStack) -> Kept:
        """Where recordings go; what an earlier run left there is made whole by the recorder's thread. Raises
        `BusyError`, `StorageError`."""
        record, evidence = self._config.record, self._config.evidence
        tee = kept = None
        if record is not None:
            bounds = Bounds(bytes=record.most_mb * _MB, age_ns=record.most_days * 86_400 * SECOND)
            tee = Bounded(Path(record.store), "watch", bounds)
        if evidence.keep:
            store = self._state / "evidence" if evidence.store is None else Path(evidence.store)
            kept = Bounded(store, KIND, Bounds(bytes=evidence.most_mb * _MB, count=evidence.most))
        stores = [one for one in (tee, kept) if one is not None]
        for one in stores:
            stack.enter_context(one.lock())
        writer = Writer()
        stack.callback(writer.close, 30)
        for one in stores:
            writer.do(one.recover)
        part_ns = 3600 * SECOND if record is None else record.part_minutes * 60 * SECOND
        return Kept(writer=writer, tee=tee, part_ns=part_ns, evidence=kept)

    def _listen(self, config: Config) -> None:
        """For flow records."""
        if config.netflow is None:
            return
        host, port = host_and_port(config.netflow.listen)
        boots = Boots(self._state)
        collector = NetflowCollector(host, port, config.netflow.exporters, boots.known, boots.keep)
        self._guests.shared.netflow = Supervised(collector, self._guests.flows, "netflow")
        self._guests.shared.netflow.start()

    def _use(self, outbox: Outbox, config: Config) -> None:
        self._guests.use(config)
        table = config.homeassistant
        announce(outbox, self._start.node, self._watched_now(), None if table is None else table.prefix)

    def _quiet(self) -> None:
        netflow, self._guests.shared.netflow = self._guests.shared.netflow, None
        if netflow is not None:
            netflow.stop()
            netflow.join(3)

    def _scrape(self, config: Config) -> None:
        if config.prometheus is not None:
            self._scraped = Scraped(*host_and_port(config.prometheus.listen), lambda: self._guests.watched)

    def _reload(self, outbox: Outbox) -> None:
        """Another configuration, or the old one where the new one will not do. Bundles are followed by themselves."""
        self._told.reloading = False
        self._notifier.reloading()
        try:
            config, broker = self._read()
            if broker != self._broker or config.homeassistant != self._config.homeassistant:
                self._call_another(outbox, config, broker)
        except PhasewatchError as error:
            _log.error("the old configuration stays: %s", error)
        else:
            if config.netflow != self._config.netflow:
                self._quiet()
                self._listen(config)
            self._config = config
            self._use(outbox, config)
            _log.info("another configuration: %s", ", ".join(guest.id for guest in config.guest) or "no guest")
        self._notifier.ready()

    def _read(self) -> tuple[Config, Broker]:
        """The configuration anew, and its broker. Raises as reading does; `ConfigError` for what wants a restart."""
        config = self._start.read()
        broker = broker_of(config)
        fixed = self._unchangeable(config)
        if fixed:
            raise ConfigError(
                "edge.toml", f"another {' and '.join(fixed)}", expected="the same", remedy="restart the agent"
            )
        return config, broker

    def _call_another(self, outbox: Outbox, config: Config, broker: Broker) -> None:
        """Raises `ConfigError`, and the old one is called again."""
        self._delivery.hang_up()
        try:
            self._deliver(outbox, config, broker)
        except PhasewatchError:
            self._deliver(outbox, self._config, self._broker)
            raise

    def _unchangeable(self, config: Config) -> list[str]:
        return [
            f"[{name}]" if name != "node" else name
            for name in ("node", "bundle", "outbox", "record", "evidence", "prometheus")
            if getattr(config, name) != getattr(self._config, name)
        ]

    def _bundle_is_there(self) -> bool:
        """Wait for one to be installed, if that is wanted. False if stopped before."""

        def there() -> bool:
            if self._told.reloading:
                self._told.reloading = False
                try:
                    self._config, self._broker = self._read()
                except PhasewatchError as error:
                    _log.error("the old configuration stays: %s", error)
                self._notifier.reloading()
                self._notifier.ready()
            try:
                return bundle_of(self._config) is not None
            except PhasewatchError:  # whoever opens it says so
                return True

        return not self._start.waits or self._wait(there, "no bundle is installed yet: edge install FILE")

    def _clock_is_set(self) -> bool:
        """A Pi has no clock of its own, and begins in the past. False if stopped before."""
        date = time.strftime("%Y-%m-%d", time.gmtime())
        return self._wait(lambda: now().wall_ns >= SET_SINCE_NS, f"the clock shows {date} and is not set yet")

    def _wait(self, true: Callable[[], bool], why: str) -> bool:
        """False if stopped before."""
        told = False
        while not true():
            if self._told.stopping:
                return False
            if not told:
                _log.warning("%s; waiting", why)
                self._notifier.ready()
                self._notifier.status(f"waiting: {why}")
                told = True
            self._notifier.alive()
            time.sleep(TURN_S)
        return True

    @property
    def _state(self) -> Path:
        return state_of(self._config)
