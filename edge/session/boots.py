"""When each flow exporter booted, over restarts of the agent: some say it once, in their first message."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import msgspec

from contracts.decode import decoded
from contracts.errors import PhasewatchError, RowError
from contracts.files import read_file, write_file

_log = logging.getLogger("edge")
FILE = "exporters.json"
_Boots = dict[str, Annotated[int, msgspec.Meta(gt=0, le=2**62 // 1_000_000)]]


class Boots:
    """A small file in the state folder. Without it, flows that count from a boot wait until it is said again."""

    def __init__(self, state: Path) -> None:
        self._path = state / FILE
        self.known: dict[str, int] = {}
        try:
            data = read_file(self._path, 1 << 20)
            self.known = decoded(data, _Boots, self._path, RowError, expected="boots by exporter", remedy="remove it")
        except PhasewatchError:
            return

    def keep(self, boots: dict[str, int]) -> None:
        """As they are known now. Raises nothing."""
        try:
            write_file(self._path, msgspec.json.encode(boots))
        except PhasewatchError as error:
            _log.warning("%s", error)
