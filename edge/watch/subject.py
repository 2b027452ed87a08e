"""What is watched: a guest that runs, or a recording of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from contracts.telemetry.rows import LabelRow
from contracts.vocabulary import Source


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is watched. Labels and an end are known for recordings only."""

    mode: Literal["live", "replay"]
    host_id: str
    guest_id: str
    episode_id: str
    guest_addresses: frozenset[str]
    sources: tuple[Source, ...]
    started_wall_ns: int
    ended_wall_ns: int | None = None
    profile: str | None = None
    sample_name: str | None = None
    labels: Sequence[LabelRow] = ()
    evidence: bool = False
    """Whether recordings of its alarms are kept, or were: its windows name them."""
