"""A document, decoded or refused in one line.

A key that an object holds twice is refused: decoders take the last one in silence, and two readers may differ.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

from contracts.errors import PhasewatchError

T = TypeVar("T")
UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What is raised for bytes that are no such document."""


class _TwiceError(Exception):
    pass


def decoded(
    data: bytes, kind: type[T], where: object, refusal: type[PhasewatchError], *, expected: str, remedy: str
) -> T:
    """JSON as `kind`. Raises `refusal`."""
    try:
        found = msgspec.json.decode(data, type=kind)
        twice = key_twice(data)  # reads what msgspec skips, too
    except (*UNDECODABLE, json.JSONDecodeError) as error:
        raise refusal(where, str(error), expected=expected, remedy=remedy) from None
    if twice is not None:
        raise refusal(where, f"`{twice}` twice", expected="each key once", remedy=remedy)
    return found


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
