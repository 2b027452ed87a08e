"""Text from outside, made fit for any terminal and any file."""

from __future__ import annotations

_PLAIN = {"…": "...", "–": "-", "µ": "u", "∞": "inf"}
"""Characters of our own, for terminals that have not got them."""


def printable(text: str) -> str:
    """One line of valid text: bytes that are not UTF-8 (a file's name may hold any), line ends and control characters
    are escaped."""
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # halves of a pair, which no file's name holds
        data = text.encode("utf-8", "backslashreplace")
    whole = data.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in whole)


def replaced(error: UnicodeError) -> tuple[str, int]:
    """An error handler for `codecs`: what an encoding has not got is written plainly, or escaped."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(c) or _escaped(c) for c in error.object[error.start : error.end]), error.end


def _escaped(c: str) -> str:
    byte = ord(c) - 0xDC00  # how Python holds a byte that is not UTF-8
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else c.encode("ascii", "backslashreplace").decode()
