"""The bytes of a stored file to typed rows, a piece at a time: memory does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from contracts.errors import BoundError, DigestError, RowError
from contracts.telemetry.manifest import FileEntry
from contracts.telemetry.rows import ROW_TYPES, LabelRow
from contracts.telemetry.storage import PIECE, expanded, read_file, sha256

MAX_LINE = 1 << 16
"""Honest rows are of 200 to 700 bytes."""
REDO = "record the episode again, or leave it out"

_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    **{source: msgspec.json.Decoder(row) for source, row in ROW_TYPES.items()},
    "labels": msgspec.json.Decoder(LabelRow),
}


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


def row_batches(stored: bytes, stem: str, path: Path) -> Iterator[list[Any]]:
    """The rows of one file in order, some thousand at a time. `stem` is a source or `labels`.

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
                yield _decode(text[:end] if rest else text, stem)
            begun += end
        if rest:
            yield _decode(rest, stem)
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


def _decode(text: bytes, stem: str) -> list[Any]:
    decoder = _decoders[stem]
    try:
        return decoder.decode_lines(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        found: Exception = error
    for number, line in enumerate(text.split(b"\n"), start=1):
        try:
            if line.strip():
                decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _LineError(number, str(error)) from None
    raise _LineError(1, str(found))
