"""The bytes of a stored file to typed rows, a piece at a time: memory does not grow with the file."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec

from contracts.decode import UNDECODABLE, key_twice
from contracts.errors import BoundError, DigestError, RowError
from contracts.files import read_file, sha256
from contracts.telemetry.manifest import FileEntry
from contracts.telemetry.rows import ROW_TYPES, LabelRow
from contracts.telemetry.zstd import PIECE, expanded

MAX_LINE = 1 << 16
"""Honest rows are of 200 to 700 bytes."""
REDO = "record the episode again, or leave it out"

_TYPES: tuple[tuple[str, type[msgspec.Struct]], ...] = (*ROW_TYPES.items(), ("labels", LabelRow))
_decoders: dict[str, msgspec.json.Decoder[Any]] = {stem: msgspec.json.Decoder(row) for stem, row in _TYPES}
_QUOTE = ord('"')

Counter = Callable[[bytes, int], int]
"""How often a byte is in a text."""


def _quotes_of(row: type[msgspec.Struct]) -> int:
    """How many quotation marks a row holds: two for each field's name, and two for each value that is text."""
    fields = cast(msgspec.inspect.StructType, msgspec.inspect.type_info(row)).fields
    texts = sum(isinstance(field.type, msgspec.inspect.StrType | msgspec.inspect.LiteralType) for field in fields)
    return 2 * len(fields) + 2 * texts


_quotes = {stem: _quotes_of(row) for stem, row in _TYPES}


def stored_bytes(path: Path, entry: FileEntry) -> bytes:
    """A file as stored, held to its manifest. Raises `MissingError`, `UnreadableError`, `BoundError`, `DigestError`."""
    stored = read_file(path)
    found = sha256(stored)
    if found != entry.sha256 or len(stored) != entry.bytes:
        raise DigestError(
            path,
            f"sha256 {found[:12]}… over {len(stored)} bytes",
            expected=f"{entry.sha256[:12]}… over {entry.bytes} bytes, as episode.json says",
            remedy="copy the file again, or leave the episode out",
        )
    return stored


def row_batches(stored: bytes, stem: str, path: Path, *, count: Counter = bytes.count) -> Iterator[list[Any]]:
    """The rows of one file in order, some thousand at a time. `stem` is a source or `labels`; `count` may be a faster
    one.

    Raises `TornError`, `BoundError`, and `RowError` with the line at fault.
    """
    begun, rest = 0, b""  # how many bytes of text lie before `rest`
    try:
        for piece in _pieces(stored, path):
            text = rest + piece if rest else piece
            end = text.rfind(b"\n") + 1
            _bound(text)
            rest = text[end:]
            if end:
                yield _decode(text[:end] if rest else text, stem, count)
            begun += end
        if rest:
            yield _decode(rest, stem, count)
    except _LineError as bad:
        line = _newlines(stored, path, begun) + bad.number
        kind = BoundError if bad.long else RowError
        raise kind(f"{path}:{line}", bad.found, expected=f"a row of {stem}", remedy=REDO) from None


class _LineError(Exception):
    """A line that is at fault, counted from 1 in the text at hand."""

    def __init__(self, number: int, found: str, *, long: bool = False) -> None:
        super().__init__(found)
        self.number, self.found, self.long = number, found, long


def _newlines(stored: bytes, path: Path, upto: int) -> int:
    """How many lines end in the first `upto` bytes of text: asked for when something is wrong, and not before."""
    count = at = 0
    for piece in _pieces(stored, path):
        count += piece.count(b"\n", 0, max(upto - at, 0))
        at += len(piece)
        if at >= upto:
            break
    return count


def _pieces(stored: bytes, path: Path) -> Iterator[bytes]:
    if path.suffix == ".zst":
        yield from expanded(stored, path)
    else:
        for start in range(0, len(stored), PIECE):
            yield stored[start : start + PIECE]


def _bound(text: bytes) -> None:
    """No line is longer than `MAX_LINE`. Looks at one byte in 65,000, not at each."""
    at = 0
    while len(text) - at > MAX_LINE:
        end = text.rfind(b"\n", at, at + MAX_LINE + 1)
        if end < 0:
            raise _LineError(text.count(b"\n", 0, at) + 1, f"over {MAX_LINE} bytes", long=True)
        at = end + 1


def _decode(text: bytes, stem: str, count: Counter) -> list[Any]:
    """One row per line, and no field twice.

    A field that is there twice shows by its quotation marks: a row cannot have fewer than `_quotes`. An escaped one in
    a text makes them more as well, so each line is looked at then.
    """
    try:
        rows = list(map(_decoders[stem].decode, io.BytesIO(text)))
    except UNDECODABLE:
        return _decode_each(text, stem)
    return rows if count(text, _QUOTE) == len(rows) * _quotes[stem] else _decode_each(text, stem)


def _decode_each(text: bytes, stem: str) -> list[Any]:
    """Line by line: blank ones are no rows, and the first that is at fault is named."""
    decoder, rows = _decoders[stem], []
    for number, line in enumerate(io.BytesIO(text), start=1):
        if not line.strip(b" \t\r\n"):
            continue
        try:
            rows.append(decoder.decode(line))
            twice = key_twice(line) if line.count(_QUOTE) != _quotes[stem] else None
        except UNDECODABLE as error:
            raise _LineError(number, str(error)) from None
        if twice is not None:
            raise _LineError(number, f"`{twice}` twice")
    return rows
