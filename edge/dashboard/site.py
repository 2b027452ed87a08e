"""What the pages are made of."""

from __future__ import annotations

from dataclasses import dataclass

from edge.dashboard.access import Door
from edge.dashboard.board import Board
from edge.dashboard.history import History
from edge.dashboard.intake import Intake


@dataclass(frozen=True, kw_only=True)
class Site:
    """hosts: names by which we may be called. behind_proxy: believe what X-Forwarded headers say."""

    history: History
    board: Board
    intake: Intake
    door: Door
    hosts: list[str]
    behind_proxy: bool = False
    tls: bool = False
