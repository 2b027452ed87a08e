"""Where a bundle comes from: a file, a folder (its newest), or an address; and which were installed here before.

An address is no more trusted than a file: what it sends is bounded, and verified like any other bundle.
"""

from __future__ import annotations

import contextlib
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from types import FrameType
from typing import IO, Annotated, NamedTuple
from urllib.parse import urlsplit

import msgspec

from contracts.bundle.archive import MAX_BUNDLE
from contracts.decode import decoded
from contracts.errors import BoundError, ConfigError, MissingError, PhasewatchError, RowError
from contracts.files import read_file, write_file
from contracts.types import Sha256

TOGETHER_S = 600.0
"""For all of a bundle, from an address; a server that falls silent is given up after `SILENT_S`."""
SILENT_S = 30.0
HERE = ("127.0.0.1", "::1", "localhost")
FILE = "installed-before.json"
MOST = 1000
_Digests = Annotated[list[Sha256], msgspec.Meta(max_length=MOST)]


class Offer(NamedTuple):
    """A bundle's bytes, and where they came from. where: for messages; of an address, the last name in it."""

    where: Path
    data: bytes


def offered(source: str) -> Offer:
    """Read it. Raises `MissingError`, `UnreadableError`, `BoundError`, `ConfigError`."""
    if "://" in source:
        data = _fetched(source)
        return Offer(Path(Path(urlsplit(source).path).name or "bundle"), data)
    path = Path(source)
    if path.is_dir():
        path = _newest(path)
    return Offer(path, read_file(path, MAX_BUNDLE))


def _newest(folder: Path) -> Path:
    found = [(path.lstat().st_mtime_ns, path.name, path) for path in folder.glob("*.bundle")]
    if not found:
        raise MissingError(folder, "no .bundle in it", expected="one or more", remedy="copy one there")
    return max(found)[2]


class _Redirected(urllib.request.HTTPRedirectHandler):
    """Not from an address that is allowed to one that is not."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        _check(newurl)
        if req.type == "https" and urlsplit(newurl).scheme != "https":  # what listens here is not for others to ask
            raise ConfigError(newurl, "no https", expected="https after https", remedy="see the server's redirections")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        allowed = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in HERE)
    except ValueError:
        allowed = False
    if not allowed:
        raise ConfigError(
            url, "neither https nor this machine", expected="https://host/path/to/a.bundle", remedy="correct it"
        )


class _TooLongError(Exception):
    """Of a timer, which nothing on the way takes for its own."""


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    """An end for a server that says a byte now and then. In the main thread, where commands run."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _fetched(url: str) -> bytes:
    _check(url)

    def refuse(found: str) -> MissingError:
        return MissingError(url, found, expected="a bundle", remedy="see the address and the server, and try again")

    data = bytearray()
    try:
        with _within(TOGETHER_S), urllib.request.build_opener(_Redirected).open(url, timeout=SILENT_S) as answer:
            while part := answer.read1(1 << 16):
                data += part
                if len(data) > MAX_BUNDLE:
                    raise BoundError(
                        url, f"over {MAX_BUNDLE} bytes", expected="a bundle", remedy="see what lies at that address"
                    )
            missing = answer.length  # None where no length was said; what is cut short is no error of read1
    except urllib.error.HTTPError as error:
        raise refuse(f"the server says {error.code} {error.reason}") from None
    except _TooLongError:
        raise refuse(f"not whole after {TOGETHER_S:g} s") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise refuse(f"not to be had: {reason}") from None
    if missing:
        raise refuse(f"cut short by {missing} bytes")
    return bytes(data)


def was_installed(state: Path, digest: str) -> bool:
    """Whether these bytes were installed here before, and so are no news, even where an agent returned from them."""
    return digest in _read(state)


def remember(state: Path, digest: str) -> None:
    """They are installed now. Raises `StorageError`."""
    digests = [one for one in _read(state) if one != digest]
    write_file(state / FILE, msgspec.json.encode([*digests[-(MOST - 1) :], digest]))


def _read(state: Path) -> list[str]:
    """What cannot be read counts as nothing: it is verified and tried as if it were new."""
    path = state / FILE
    try:
        return decoded(read_file(path, 1 << 20), _Digests, path, RowError, expected="digests", remedy="remove it")
    except PhasewatchError:
        return []
