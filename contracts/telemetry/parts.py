"""A live watch on disk: cut into parts, each an episode, which together replay as the watch that they were.

A part never holds a step of the wall clock: where it is set, a part ends and another begins.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from contracts.errors import RowError
from contracts.telemetry.lines import REDO
from contracts.telemetry.manifest import Manifest
from contracts.types import Name, Nanoseconds

KEY = "watch"
"""In a manifest's `host`."""


class WatchPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which part of which watch an episode is. started_wall_ns: of the whole watch."""

    id: Name
    part: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)]
    started_wall_ns: Nanoseconds
    continues: bool
    """Whether nothing is missing between the part before and this one."""
    moved_ns: Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)] = 0
    """By how much the wall clock was set between the two."""
    evidence: bool = False
    """Whether the watch kept recordings of its alarms, and named them."""


def watch_part(manifest: Manifest, where: object) -> WatchPart | None:
    """What a manifest says of it; None for a recording that is no part of a watch. Raises `RowError`."""
    said = manifest.host.get(KEY)
    if said is None:
        return None
    try:
        return msgspec.convert(said, WatchPart)
    except msgspec.ValidationError as error:
        raise RowError(where, f"host.{KEY}: {error}", expected="a part of a live watch", remedy=REDO) from None
