"""Keys that a JSON object holds twice: decoders take the last one, in silence."""

from __future__ import annotations

import json
from typing import Any


class _TwiceError(Exception):
    pass


def key_twice(text: bytes) -> str | None:
    """The first key that an object holds twice, at any depth, shortened; None if there is none. text: valid JSON."""
    try:
        json.loads(text, object_pairs_hook=_once, parse_int=str, parse_float=str)  # numbers may be of any length
    except _TwiceError as twice:
        return str(twice)[:64]
    return None


def _once(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise _TwiceError(key)
        seen.add(key)
