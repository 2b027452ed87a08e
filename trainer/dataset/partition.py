"""Which episodes share a file: by size, and so that one more episode changes one file.

Episodes are dealt out by the bits of a hash of their id, as in extendible hashing (Fagin et al., 1979): a group that is
too large is split in two by its next bit. The outcome depends on the episodes alone, and each file is a fair sample of
them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def partition(
    items: Sequence[T], key: Callable[[T], str], size: Callable[[T], int], limit: int, prefix: str = ""
) -> Iterator[tuple[str, list[T]]]:
    """Groups of at most `limit` (unless one item is larger), as `(bits, items)`; the items stay in order."""
    if len(items) <= 1 or sum(map(size, items)) <= limit or len(prefix) == 64:
        if items:
            yield prefix, list(items)
        return
    at = len(prefix)
    for bit in "01":
        some = [item for item in items if _bits(key(item))[at] == bit]
        yield from partition(some, key, size, limit, prefix + bit)


def _bits(text: str) -> str:
    return f"{int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], 'big'):064b}"
