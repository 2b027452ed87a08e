"""The agent's own figures for Prometheus, by its own client library; only where the configuration asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from contracts.errors import ConfigError
from edge.session.guests import Watched


class Scraped:
    """An HTTP endpoint. What it shows is each guest's last perf event."""

    def __init__(self, host: str, port: int, watched: Callable[[], Sequence[Watched]]) -> None:
        """Raises `ConfigError` where the library is missing or the port taken."""
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError:
            raise ConfigError(
                "[prometheus]",
                "prometheus-client is not installed",
                expected="it beside the agent",
                remedy="pip install 'phasewatch[prometheus]', or leave [prometheus] out",
            ) from None
        registry = CollectorRegistry()
        registry.register(_Figures(watched))
        try:
            start_http_server(port, host, registry)
        except OSError as error:
            raise ConfigError(
                "[prometheus]", f"{host}:{port}: {error.strerror}", expected="a free port", remedy="name another"
            ) from None


class _Figures:
    """What `prometheus_client` calls a collector."""

    def __init__(self, watched: Callable[[], Sequence[Watched]]) -> None:
        self._watched = watched

    def collect(self) -> Iterator[Any]:
        """All metrics, as of now."""
        from prometheus_client.core import GaugeMetricFamily

        lasts = [(one.guest.id, one.health.last) for one in self._watched()]
        perfs = [(guest, perf) for guest, perf in lasts if perf is not None]
        for name, what, of in _OF_GUEST:
            family = GaugeMetricFamily(f"phasewatch_{name}", what, labels=["guest"])
            for guest, perf in perfs:
                if (value := of(perf)) is not None:
                    family.add_metric([guest], value)
            yield family
        for name, what, of_source in _OF_SOURCE:
            family = GaugeMetricFamily(f"phasewatch_source_{name}", what, labels=["guest", "source"])
            for guest, perf in perfs:
                for source, one in perf.sources.items():
                    if (value := of_source(one)) is not None:
                        family.add_metric([guest, source], value)
            yield family


_Of = tuple[tuple[str, str, Callable[[Any], float | None]], ...]
_OF_GUEST: _Of = (
    ("rss_bytes", "Resident memory of the agent", lambda perf: perf.rss_bytes),
    ("cpu_share", "Cores that the agent used since the last report", lambda perf: perf.cpu_share),
    ("outbox_depth", "Events that wait for the broker", lambda perf: perf.outbox_depth),
    ("dropped", "Events that the outbox dropped, in its whole life", lambda perf: perf.dropped),
    ("disk_free_bytes", "Room where the outbox is", lambda perf: perf.disk_free_bytes),
    ("temperature_celsius", "Of the SoC", lambda perf: perf.temperature_c),
    ("throttled", "Whether the firmware throttles", lambda perf: perf.throttled),
    ("inference_p99_ms", "One window in the model", lambda perf: perf.inference_ms.p99),
    ("lateness_p99_ms", "From settling to the outbox", lambda perf: perf.lateness_ms.p99 if perf.lateness_ms else None),
    ("drift_largest", "The largest population stability index", lambda perf: max(perf.drift.values(), default=None)),
)
_OF_SOURCE: _Of = (
    ("up", "Whether rows can come", lambda one: one.up),
    ("observed_share", "Share of the last windows in which it was observed", lambda one: one.observed),
    ("rows", "Since the agent began", lambda one: one.rows),
    ("failures", "Times it was lost or could not be opened", lambda one: one.failures),
    ("skipped", "Ticks that came too late", lambda one: one.skipped),
    ("took_p99_ms", "One read", lambda one: one.took_ms.p99),
    ("lag_p99_ms", "Of its rows", lambda one: one.lag_ms.p99),
)
