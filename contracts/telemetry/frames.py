"""What a zstd frame says of itself (RFC 8878, 3.1.1.1), for when it cannot be expanded."""

from __future__ import annotations

from pathlib import Path

from contracts.errors import BoundError, TornError

MAX_WINDOW = 1 << 27
"""Bytes that a frame may look back on, and its reader must keep: as far as `zstd -d` goes without being told to."""
MAX_HEADER = 18
_MAGIC = b"\x28\xb5\x2f\xfd"


def refusal(path: Path, header: bytes, rows: str, error: Exception) -> TornError:
    """Why a frame could not be expanded. header: its first bytes; rows: what was read before it, in words."""
    if header[:4] != _MAGIC:
        kind, remedy = "not zstd", "copy it again, or leave it out"
        return TornError(path, f"{kind}{rows} ({error})", expected="a whole zstd file", remedy=remedy)
    window, dictionary = window_and_dictionary(header)
    if dictionary:
        return TornError(
            path, "zstd with a dictionary", expected="zstd without", remedy="compress it again, without a dictionary"
        )
    if window > MAX_WINDOW:
        return BoundError(
            path,
            f"zstd with a window of {window >> 20} MiB",
            expected=f"{MAX_WINDOW >> 20} MiB at most",
            remedy="compress it again, without --long",
        )
    return TornError(
        path,
        f"damaged zstd{rows} ({error})",
        expected="a whole zstd file",
        remedy="copy it again, or leave it out",
    )


def window_and_dictionary(header: bytes) -> tuple[int, int]:
    """A frame's window in bytes, and the id of its dictionary (0: none)."""
    flags, at = header[4], 5
    one_segment = flags & 0x20
    window = 0
    if not one_segment:
        exponent, eighths = header[at] >> 3, header[at] & 7
        window, at = (8 + eighths) << (7 + exponent), at + 1
    size = (0, 1, 2, 4)[flags & 3]
    dictionary, at = int.from_bytes(header[at : at + size], "little"), at + size
    if one_segment:  # the window is the whole content
        size = (1, 2, 4, 8)[flags >> 6]
        window = int.from_bytes(header[at : at + size], "little")
    return window, dictionary
