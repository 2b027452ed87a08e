"""Bytes on disk: bounded reads that follow no link, and writes that are whole or absent."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from contracts.errors import BoundError, BusyError, MissingError, StorageError, UnreadableError

MAX_STORED = 256 << 20
"""No stored file is read past this many bytes."""


def sha256(data: bytes) -> str:
    """64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def read_file(path: Path, limit: int = MAX_STORED) -> bytes:
    """The bytes of a regular file. Refuses links, and more than `limit` bytes.

    Raises `MissingError`, `UnreadableError`, `BoundError`.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise MissingError(
            path, "no such file", expected="a regular file", remedy="copy it again from where it was recorded"
        ) from None
    except OSError as error:
        found = "a symbolic link" if path.is_symlink() else f"cannot be opened ({error.strerror})"
        raise UnreadableError(
            path, found, expected="a regular file that this user may read", remedy="put the file itself there"
        ) from None
    size = os.fstat(fd)
    if not stat.S_ISREG(size.st_mode):
        os.close(fd)
        raise UnreadableError(path, "not a regular file", expected="a regular file", remedy="put the file itself there")
    with os.fdopen(fd, "rb") as file:
        if size.st_size > limit:
            raise BoundError(
                path, f"{size.st_size} bytes", expected=f"at most {limit}", remedy="split it, or leave it out"
            )
        data = file.read(size.st_size + 1)
        if len(data) > size.st_size:
            raise BoundError(path, "a file that grows", expected="one at rest", remedy="wait until it is written")
        return data


@contextlib.contextmanager
def writing(path: Path, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when it is whole and on disk. mode: less what the umask takes away.

    Raises `StorageError`.
    """
    part = path.parent / f".{path.name}.{secrets.token_hex(8)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(fd)
        part.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """The new name is on disk too: until then a power cut may bring the old file back."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """`writing`, for bytes already at hand."""
    with writing(path, mode) as file:
        file.write(data)


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        path,
        f"cannot be written ({error.strerror})",
        expected="a writable folder with space left",
        remedy="free some space or choose another folder",
    )


@contextlib.contextmanager
def locked(path: Path, wait_s: float = 0) -> Iterator[None]:
    """Hold a lock file for as long as the block runs, against other processes. wait_s: for another that holds it.

    Raises `BusyError`, `StorageError`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise _unwritable(path, error) from None
    with file:
        until = time.monotonic() + wait_s
        while not _taken(file):
            if time.monotonic() >= until:
                raise BusyError(
                    path,
                    "another process works here",
                    expected="to be alone",
                    remedy="wait for it, or choose another path",
                )
            time.sleep(0.02)
        yield


def _taken(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def file_sha256(path: Path) -> str:
    """Of a file of any size, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
