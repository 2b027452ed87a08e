"""On which line of a TOML file a key stands: readers of TOML do not tell."""

from __future__ import annotations

import re

_HEADER = re.compile(r"\s*\[(\[)?\s*([A-Za-z0-9_.\"' -]+?)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')\s*[=.]")


class Places:
    """The lines of one file, counted from 1. Keys within inline tables are placed at their table's line."""

    def __init__(self, text: str) -> None:
        self._lines: dict[tuple[str, int, str], int] = {}
        table, index = "", 0
        seen: dict[str, int] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if header := _HEADER.match(line):
                table = header[2].strip("\"'")
                index = seen.get(table, -1) + 1 if header[1] else 0
                seen[table] = index
                self._lines.setdefault((table, index, ""), number)
            elif key := _KEY.match(line):
                self._lines.setdefault((table, index, key[1].strip("\"'")), number)

    def line(self, table: str, index: int = 0, key: str = "") -> int | None:
        """Of a key, or else of its table's header; None where neither is written."""
        named = self._lines.get((table, index, key)) or self._lines.get((key, 0, ""))
        if named is None and table:
            named = self._lines.get((table, index, "")) or self._lines.get(("", 0, table))
        return named
