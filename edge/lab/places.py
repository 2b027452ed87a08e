"""Addresses and ports of the lab: nothing of it leaves the namespace."""

from __future__ import annotations

import random

import msgspec

GUEST, HOST = "10.77.0.2", "10.77.0.1"
ANSWERED, UNANSWERED = "10.77.2.0", "10.77.3.0"
"""Two nets of 254 addresses: our sink answers at all of the first, nobody at those of the second."""
KNOWN = (22, 23, 80, 443, 445, 2323, 5555, 7547, 8080, 37215, 52869)
"""Ports that scanners ask for."""


class Ports(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the sink listens in one episode, drawn at random: a port number says nothing about the phase."""

    web: int
    telemetry: int
    backup: int
    delivery: int
    control: int
    upload: int
    time_udp: int
    control_udp: int
    scanned: list[int]
    """Of these the sink answers at every second one, from the first."""

    @property
    def tcp(self) -> list[int]:
        """All that are listened at."""
        roles = [self.web, self.telemetry, self.backup, self.delivery, self.control, self.upload]
        return sorted({*roles, *self.scanned[::2]})

    @property
    def udp(self) -> list[int]:
        """Likewise."""
        return sorted({self.time_udp, self.control_udp})


def draw_ports(draw: random.Random) -> Ports:
    """Eight roles, six ports to scan."""
    tcp, udp = draw.sample(range(1024, 49152), 9), draw.sample(range(1024, 49152), 2)
    scanned = [*draw.sample(KNOWN, 3), *tcp[6:]]
    draw.shuffle(scanned)
    return Ports(
        web=tcp[0], telemetry=tcp[1], backup=tcp[2], delivery=tcp[3], control=tcp[4], upload=tcp[5],
        time_udp=udp[0], control_udp=udp[1], scanned=scanned,
    )  # fmt: skip
