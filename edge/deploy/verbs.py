"""What a person decides: install, roll back, promote a shadow or dismiss it. The running bundle is never touched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from contracts.bundle.archive import MAX_BUNDLE, read_bundle
from contracts.errors import BusyError, ConfigError, StorageError
from contracts.files import read_file, sha256, write_file
from edge.deploy.deployment import (
    Deployment,
    Installed,
    bundle_path,
    changing,
    deciding,
    read_deployment,
    write_deployment,
)
from edge.deploy.site import Site
from edge.deploy.source import remember
from edge.model.opened import Active

First = Callable[[object, Callable[[], object]], None]
"""Is told where a fault would lie, and does by itself what opens a bundle here next (`first_try.tried_apart`)."""


def _nothing(_where: object, _work: Callable[[], object]) -> None:
    """A verb that opens a bundle here at once."""


def install(
    site: Site,
    bundle: Path,
    *,
    allow_unsigned: bool,
    shadow: bool,
    first: First = _nothing,
    data: bytes | None = None,
) -> tuple[Active, Deployment]:
    """Verify a bundle, copy it beside those in use, self-test the copy, and make it the current one (or the shadow).

    first: opens the copy before it is opened here. data: the bundle's bytes, where they were read already.

    Raises `MissingError`, `TornError`, `BundleError` and its kin, `DigestError`, `SchemaMismatchError`, `StorageError`,
    `ConfigError` for a shadow of nothing. After any of them, and after a power cut, what was installed is as before.
    """
    if shadow and read_deployment(site.folder).current is None:
        raise ConfigError(
            site.folder, "no bundle to shadow", expected="a current one", remedy="install one without --shadow first"
        )
    # from one reading of the file: what is verified is what is copied
    data = read_file(bundle, MAX_BUNDLE) if data is None else data
    found = read_bundle(bundle, schema=site.schema, trust=site.trust, allow_unsigned=allow_unsigned, data=data)
    made = Installed(
        # of all its bytes: the manifest's digest says nothing of who signed it
        file=f"{found.manifest.name}-{sha256(data)[:12]}.bundle",
        name=found.manifest.name,
        digest=found.digest,
        unsigned=found.key is None,
    )
    with deciding(site.folder):
        write_file(bundle_path(site.folder, made), data)
        first(f"bundle {made.name}", lambda: site.active(made))
        active = site.active(made)
        with changing(site.folder) as before:
            state = _with_shadow(before, made) if shadow else _with_current(before, made)
            write_deployment(site.folder, state)
        with contextlib.suppress(StorageError):  # it is installed; offered again, it is looked at again
            remember(site.folder, sha256(data))
    return active, state


def _with_current(before: Deployment, made: Installed) -> Deployment:
    current, previous = before.current, before.previous
    if current is not None and current.digest == made.digest:  # again: its trial begins anew
        return msgspec.structs.replace(before, current=made, returned=None)
    if current is not None and (current.proven or previous is None or previous.digest == made.digest):
        previous = current
    shadow = before.shadow if before.shadow is None or before.shadow.digest != made.digest else None
    return Deployment(current=made, previous=previous, shadow=shadow)


def _with_shadow(before: Deployment, made: Installed) -> Deployment:
    if before.current is not None and before.current.digest == made.digest:
        raise ConfigError(
            made.name, "is the current bundle", expected="another one", remedy="a bundle cannot shadow itself"
        )
    return msgspec.structs.replace(before, shadow=made)


def rollback(site: Site, first: First = _nothing) -> tuple[Active, Deployment]:
    """Return to the previous bundle, once it has been verified and tested again; the current one becomes the previous.

    Raises `ConfigError` if there is none, `BusyError`, and as `activate` does.
    """
    if not site.folder.exists():  # a refusal makes none
        _require_previous(site.folder)
    with deciding(site.folder):
        previous = _require_previous(site.folder)
        first(f"bundle {previous.name}", lambda: site.active(previous))
        active = site.active(previous)  # not while agents wait for the state
        with changing(site.folder) as before:
            _require_same(site.folder, previous, before.previous)
            state = msgspec.structs.replace(before, current=before.previous, previous=before.current, returned=None)
            write_deployment(site.folder, state)
    return active, state


def promote(site: Site, first: First = _nothing) -> tuple[Active, Deployment]:
    """Make the shadow the current bundle. Raises `ConfigError` if there is none, and as `rollback` does."""
    if not site.folder.exists():  # a refusal makes none
        _require_shadow(site.folder)
    with deciding(site.folder):
        shadow = _require_shadow(site.folder)
        first(f"bundle {shadow.name}", lambda: site.active(shadow))
        active = site.active(shadow)
        with changing(site.folder) as before:
            _require_same(site.folder, shadow, before.shadow)
            state = _with_current(before, msgspec.structs.replace(shadow, starts=0, proven=False))
            write_deployment(site.folder, state)
    return active, state


def _require_previous(folder: Path) -> Installed:
    previous = read_deployment(folder).previous
    if previous is None:
        raise ConfigError(
            folder, "no previous bundle", expected="one to return to", remedy="install one with edge install"
        )
    return previous


def _require_shadow(folder: Path) -> Installed:
    shadow = read_deployment(folder).shadow
    if shadow is None:
        raise ConfigError(folder, "no shadow", expected="one", remedy="install one with edge install BUNDLE --shadow")
    return shadow


def _require_same(folder: Path, seen: Installed, now: Installed | None) -> None:
    if now is None or now.digest != seen.digest:  # an agent gave it up, or dismissed it
        raise BusyError(
            folder, f"{seen.name} went meanwhile", expected="a state at rest", remedy="look with edge status"
        )


def dismiss(folder: Path) -> Deployment:
    """End the shadow. Raises `ConfigError` if there is none."""
    if not folder.exists():  # a refusal makes none
        _require_shadow(folder)
    with deciding(folder), changing(folder) as before:
        _require_shadow(folder)
        state = msgspec.structs.replace(before, shadow=None)
        write_deployment(folder, state)
    return state
