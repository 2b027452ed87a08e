"""Pieces of work on an episode's time: each is an order to the guest to start something, and one to stop it."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from edge.lab.places import Ports


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line to the guest (firmware-config/guest/work.c). at_ms: since the episode's start, before it if negative."""

    at_ms: int
    line: str


class Works:
    """Collects orders between the guest's settling and the episode's end."""

    def __init__(self, first_ms: int, last_ms: int, draw: random.Random, ports: Ports) -> None:
        self.first_ms, self.last_ms, self.draw, self.ports = first_ms, last_ms, draw, ports
        self._orders: list[tuple[int, int, str]] = []
        self._count = 0

    def run(self, kind: str, since_ms: int, until_ms: int, **parameters: int | str | Sequence[int]) -> None:
        """One work from one moment to another. What would have begun before the guest settles begins then."""
        since_ms = max(since_ms, self.first_ms)
        if until_ms <= since_ms or since_ms >= self.last_ms:
            return
        self._count += 1
        name = f"w{self._count}"
        said = {**parameters, "seed": self.draw.randrange(1, 1 << 30)}
        words = " ".join(f"{key}={_text(value)}" for key, value in said.items())
        self._orders.append((since_ms, 1, f"start {name} {kind} {words}"))
        if until_ms < self.last_ms:
            self._orders.append((until_ms, 0, f"stop {name}"))

    @property
    def orders(self) -> list[Order]:
        """In order of time; at one moment what ends comes first."""
        return [Order(at_ms=at, line=line) for at, _, line in sorted(self._orders)]

    def near(self, value: float, share: float = 0.15) -> int:
        """A parameter of a variant, as one episode has it."""
        return max(1, round(value * self.draw.uniform(1 - share, 1 + share)))


def _text(value: int | str | Sequence[int]) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ",".join(map(str, value))
