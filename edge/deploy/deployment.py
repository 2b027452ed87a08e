"""What is installed on this machine: `deployment.json` in the state folder, and the bundle files that it names.

A bundle is kept as it came, whole: its signature covers every byte, and it is verified again at each start. Files are
written beside those in use, and the one small file that says which is which is replaced atomically, so a power cut
leaves the old state or the new one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from contracts.decode import decoded
from contracts.errors import MissingError, TornError
from contracts.files import locked, read_file, write_file
from contracts.types import Count, Sha256

STATE = "deployment.json"
BUNDLES = "bundles"
WAIT_S = 10.0
"""The lock is held for milliseconds: whoever holds it longer is not well."""

FileName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,160}$(?!\n)")]


class Installed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bundle. file: below `bundles/`; digest: of its manifest. unsigned: whoever installed it allowed that.

    proven: it has run here, on time. starts: how many agents have it in hand, or ended with it, before it was proven.
    """

    file: FileName
    name: str
    digest: Sha256
    unsigned: bool = False
    proven: bool = False
    starts: Count = 0


class Return(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The last time that a new bundle was given up: which, for which (None: there was no other), and why."""

    left: str
    taken: str | None
    why: str


class Deployment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """previous: what `edge rollback` returns to. shadow: rides along with the current one."""

    format: Literal[1] = 1
    current: Installed | None = None
    previous: Installed | None = None
    shadow: Installed | None = None
    returned: Return | None = None

    @property
    def roles(self) -> tuple[str | None, ...]:
        """The files of the current, the previous and the shadow."""
        return tuple(None if one is None else one.file for one in (self.current, self.previous, self.shadow))

    @property
    def files(self) -> set[str]:
        """Those in use."""
        return {file for file in self.roles if file is not None}


def read_deployment(folder: Path) -> Deployment:
    """What is installed; nothing where nothing ever was. Raises `TornError`, `UnreadableError`."""
    path = folder / STATE
    try:
        data = read_file(path, 1 << 16)
    except MissingError:
        if path.is_symlink() or path.exists():
            raise
        return Deployment()
    wrote, remedy = "what `edge install` wrote", "remove it and install again"
    return decoded(data, Deployment, path, TornError, expected=wrote, remedy=remedy)


@contextlib.contextmanager
def changing(folder: Path) -> Iterator[Deployment]:
    """The state, and nobody else may change it until the block ends. Raises `BusyError` and as `read_deployment`."""
    with locked(folder / ".deployment.lock", wait_s=WAIT_S):
        yield read_deployment(folder)


def write_deployment(folder: Path, state: Deployment) -> None:
    """Replace the state. Raises `StorageError`."""
    write_file(folder / STATE, msgspec.json.format(msgspec.json.encode(state), indent=1) + b"\n")


@contextlib.contextmanager
def deciding(folder: Path) -> Iterator[None]:
    """One person's decision at a time, and no file left over from it or from one that was cut off.

    Raises `BusyError`.
    """
    with locked(folder / ".verb.lock"):
        try:
            yield
        finally:
            in_use = read_deployment(folder).files
            for path in (folder / BUNDLES).glob("*"):
                if path.name not in in_use:
                    path.unlink(missing_ok=True)


def bundle_path(folder: Path, installed: Installed) -> Path:
    """Where an installed bundle lies."""
    return folder / BUNDLES / installed.file
