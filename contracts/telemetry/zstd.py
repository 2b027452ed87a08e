"""Rows as stored: zstd frames (RFC 8878), expanded piece by piece and no further than honest ones go."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from contracts.errors import BoundError, TornError
from contracts.telemetry.frames import MAX_HEADER, MAX_WINDOW, refusal

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_EXPANDED = 1 << 30
"""No compressed file is expanded past this many bytes."""
FEW_FRAMES = 64
LEAST_IN_FRAME = 64
"""Bytes of rows: a recorder may end a frame after every row, and none is shorter. `FEW_FRAMES` may hold less."""
PIECE = 1 << 20
"""Compressed files are expanded by so many bytes at a time."""
SLICE = 1 << 16
"""... and are read by so many."""
_FRAME = 1 << 26
"""Bytes of rows in one frame of a file that grows by frames: a few seconds hold less than one of them."""
MAX_RATIO = 1000
"""Honest rows compress 10 to 60 times; past this (and past 1 MiB) a frame is taken for a bomb."""
_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: MAX_WINDOW.bit_length() - 1}


def expanded(data: bytes, path: Path) -> Iterator[bytes]:
    """Decompress zstd frames one after the other, in pieces of `PIECE` bytes; bounded in size, ratio and frames.

    Raises `TornError`, `BoundError`.
    """
    bound = min(MAX_EXPANDED, max(1 << 20, len(data) * MAX_RATIO))
    stored, at, done, frames = memoryview(data), 0, 0, 0
    pieces: list[bytes] = []
    room = PIECE
    while at < len(stored):
        start, frames = at, frames + 1
        if frames > FEW_FRAMES + done // LEAST_IN_FRAME:
            raise BoundError(
                path,
                f"{frames} zstd frames in {done} bytes of rows",
                expected="a row in a frame at least",
                remedy="compress it again",
            )
        decompressor = zstd.ZstdDecompressor(options=_OPTIONS)
        while not decompressor.eof:
            # a slice at a time: a frame's reader copies whatever it is given and does not need
            some = stored[at : at + SLICE] if decompressor.needs_input else b""
            at += len(some)
            if decompressor.needs_input and not some:
                raise TornError(
                    path,
                    f"ends in the middle of a zstd frame{_after(done)}",
                    expected="a whole zstd file",
                    remedy="copy it again, or leave it out",
                )
            try:
                piece = decompressor.decompress(some, max_length=room)
            except zstd.ZstdError as error:
                raise refusal(path, bytes(stored[start : start + MAX_HEADER]), _after(done), error) from None
            done += len(piece)
            if done > bound:
                raise BoundError(
                    path, f"expands past {bound} bytes", expected=f"a ratio under {MAX_RATIO}", remedy="leave it out"
                )
            if piece:
                pieces.append(piece)
                room -= len(piece)
            if not room:
                yield b"".join(pieces)
                pieces, room = [], PIECE
        at -= len(decompressor.unused_data)
    if pieces:
        yield b"".join(pieces)


def _after(done: int) -> str:
    return f" after {done} bytes of rows" if done else ""


def compress(data: bytes, level: int = 10) -> bytes:
    """One zstd frame with a checksum."""
    parameter = zstd.CompressionParameter
    options: dict[int, int] = {parameter.compression_level: level, parameter.checksum_flag: 1}
    return bytes(zstd.compress(data, options=options))


def whole_frames(data: bytes) -> bytes:
    """As much of the start of `data` as is whole frames: what a power cut left of a file that grew by frames."""
    stored, at = memoryview(data), 0
    while at < len(stored):
        try:
            size = zstd.get_frame_size(stored[at:])
            decompressor = zstd.ZstdDecompressor(options=_OPTIONS)
            decompressor.decompress(stored[at : at + size], max_length=_FRAME)
        except zstd.ZstdError:
            break
        if not decompressor.eof:
            break
        at += size
    return data[:at]
