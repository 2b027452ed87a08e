"""What `edge.toml` can say. `firmware-config/edge.toml` is the commented sample, and a test reads it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from contracts.types import Name
from contracts.vocabulary import Source

Where = Annotated[str, msgspec.Meta(min_length=1, max_length=4096, pattern=r"^[^\x00]+$(?!\n)")]
"""A path; a relative one is looked for beside the file that says it."""
Level = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$(?!\n)")]
"""A level of an MQTT topic."""
Listen = Annotated[str, msgspec.Meta(max_length=256)]
"""`host:port` or `[address]:port`."""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class BrokerTable(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[broker]`: where events go."""

    url: str
    password_file: Where | None = None
    ca_file: Where | None = None
    client_certificate: Where | None = None
    client_key: Where | None = None
    mqtt_version: Literal["5", "3.1.1"] | None = None


class BundleTable(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[bundle]`: what watches. Without `file` it is what `edge install` installed in `state`."""

    file: Where | None = None
    state: Where | None = None
    trust: Where | None = None
    channels: Where | None = None
    allow_unsigned: bool = False


class OutboxTable(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[outbox]`: events on their way."""

    file: Where | None = None
    most_mb: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 500
    most_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 30


class NetflowTable(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[netflow]`: one UDP port for the flow records of all guests."""

    listen: Listen = "127.0.0.1:2055"
    exporters: Annotated[list[str], msgspec.Meta(min_length=1, max_length=64)] = msgspec.field(
        default_factory=lambda: ["127.0.0.1"]
    )
    """Addresses that may send; others are counted and dropped."""


class RecordTable(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[record]`: what is seen is kept, in parts. `--tee STORE` is the same with the defaults."""

    store: Where
    part_minutes: Annotated[int, msgspec.Meta(ge=1, le=1440)] = 60
    most_mb: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 2000
    most_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 7


class EvidenceTable(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[evidence]`: when an alarm rises, what was seen around it is kept."""

    store: Where | None = None
    keep: bool = True
    most: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 20
    most_mb: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 200


class PrometheusTable(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[prometheus]`: the agent's own figures, to be scraped."""

    listen: Listen = "127.0.0.1:9464"


class HomeAssistantTable(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[homeassistant]`: each guest is a device there, by MQTT discovery."""

    prefix: Level = "homeassistant"


class Guest(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[guest]]`: one guest, and where each source of it is. A source without a key is not watched."""

    id: Level
    host: Name | None = None
    addresses: Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=64)] = []
    qmp: Where | None = None
    pidfile: Where | None = None
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    libvirt: Annotated[str, msgspec.Meta(pattern=r"^[^/]{1,200}$(?!\n)")] | None = None
    tap: Annotated[str, msgspec.Meta(pattern=r"^[^/\s:]{1,15}$(?!\n)")] | None = None
    feed: Where | None = None
    agent: Where | None = None


class Config(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file; every path in it is absolute."""

    node: Level | None = None
    broker: BrokerTable
    bundle: BundleTable = BundleTable()
    outbox: OutboxTable = OutboxTable()
    netflow: NetflowTable | None = None
    record: RecordTable | None = None
    evidence: EvidenceTable = EvidenceTable()
    prometheus: PrometheusTable | None = None
    homeassistant: HomeAssistantTable | None = None
    guest: list[Guest]

    def sources(self, guest: Guest) -> tuple[Source, ...]:
        """What of a guest is watched."""
        has: dict[Source, bool] = {
            "proc": any((guest.pidfile, guest.name, guest.libvirt, guest.qmp)),
            "qmp": guest.qmp is not None,
            "guest": guest.feed is not None or guest.agent is not None,
            "netflow": self.netflow is not None and bool(guest.addresses),
        }
        return tuple(source for source, there in has.items() if there)


PATHS = frozenset(
    {
        "password_file",
        "ca_file",
        "client_certificate",
        "client_key",
        "file",
        "state",
        "trust",
        "channels",
        "store",
        "qmp",
        "pidfile",
        "feed",
        "agent",
    }
)
"""Keys whose values are paths."""
