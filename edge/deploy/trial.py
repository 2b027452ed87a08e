"""A new bundle on trial: proven by its first windows, or given up for the last good one.

Given up when it cannot be verified or opened at a start, when agents were ended with it in hand before it was proven
(a crash, a hang, a kill by the system's watchdog; not an orderly end), and when it is late too often in a row; and only
for a previous one that does open.
"""

from __future__ import annotations

import contextlib
import logging

import msgspec

from contracts.errors import (
    BundleError,
    DigestError,
    MissingError,
    PhasewatchError,
    RevokedKeyError,
    TornError,
    UnsignedError,
    UntrustedKeyError,
)
from edge.deploy.active import Active
from edge.deploy.apart import HANGS_S, ended_if_it_hangs
from edge.deploy.deployment import Deployment, Installed, Return, changing, read_deployment, write_deployment
from edge.deploy.verbs import Site

STARTS = 3
"""Agents may end so many times before a bundle is proven."""
WINDOWS = 3
"""It is proven when so many windows were looked at on time ..."""
MISSES = 3
"""... and given up when so many in a row were late: a window is late that takes longer than the next one to come."""
_log = logging.getLogger("edge")


def begin(site: Site) -> tuple[Active, Installed]:
    """The current bundle for an agent that starts now; or the last good one, if the current one is given up.

    Raises `MissingError` if nothing is installed, and as `activate` does if no bundle is left, or for a proven one that
    may run again as soon as its agent is started rightly (with the trust folder that knows its maker, say).
    """
    while True:
        with changing(site.folder) as state:
            state = _without_suspect(site, state)
            current = state.current
            if current is None:
                raise MissingError(
                    site.folder, "no bundle is installed", expected="one", remedy="edge install BUNDLE, or --bundle B"
                )
            if not current.proven:
                if current.starts >= STARTS and state.previous is not None and _opens(site, state.previous):
                    _give_up(site, state, f"ended {current.starts} times before it had run {WINDOWS} windows")
                    continue
                # on disk before it is opened: a library that crashes as it is loaded can only be counted now
                current = msgspec.structs.replace(current, starts=current.starts + 1)
                write_deployment(site.folder, msgspec.structs.replace(state, current=current))
        try:
            with ended_if_it_hangs(HANGS_S) if not current.proven else contextlib.nullcontext():
                return site.active(current), current
        except PhasewatchError as error:
            withdraw(site, current)
            if not (_lost(error) or not current.proven) or not give_up(site, current, str(error)):
                now = read_deployment(site.folder).current
                if now is None or now.digest == current.digest:
                    raise


def _lost(error: PhasewatchError) -> bool:
    """Whether a bundle is beyond what another start could mend: its bytes, or its maker's key."""
    if isinstance(error, UnsignedError | UntrustedKeyError):
        return isinstance(error, RevokedKeyError)
    return isinstance(error, BundleError | DigestError | MissingError | TornError)


def _opens(site: Site, installed: Installed) -> bool:
    try:
        site.active(installed)
    except PhasewatchError:
        return False
    return True


def _without_suspect(site: Site, state: Deployment) -> Deployment:
    """A shadow in whose company an agent ended is dismissed, and that start is not held against the current bundle."""
    shadow, current = state.shadow, state.current
    if shadow is None or shadow.starts == 0:
        return state
    _log.warning("shadow %s is dismissed: an agent ended while it was new", shadow.name)
    if current is not None and current.starts > 0:
        current = msgspec.structs.replace(current, starts=current.starts - 1)
    state = msgspec.structs.replace(state, shadow=None, current=current)
    write_deployment(site.folder, state)
    return state


def withdraw(site: Site, installed: Installed) -> None:
    """An agent ends in order before its bundle is proven: its start counts for nothing."""
    with changing(site.folder) as state:
        current = state.current
        if current is not None and current.digest == installed.digest and current.starts > 0:
            current = msgspec.structs.replace(current, starts=current.starts - 1)
            write_deployment(site.folder, msgspec.structs.replace(state, current=current))


def give_up(site: Site, installed: Installed, why: str) -> bool:
    """Return from a bundle to the previous one. False if it is not the current one any more, or no other would run."""
    previous = read_deployment(site.folder).previous
    if previous is None or not _opens(site, previous):
        return False
    with changing(site.folder) as state:
        if state.current is None or state.current.digest != installed.digest or state.previous != previous:
            return False
        _give_up(site, state, why)
        return True


def _give_up(site: Site, state: Deployment, why: str) -> None:
    assert state.current is not None
    assert state.previous is not None
    left, taken = state.current.name, state.previous.name
    _log.warning("bundle %s is given up for %s: %s", left, taken, why)
    write_deployment(
        site.folder,
        msgspec.structs.replace(
            state, current=state.previous, previous=None, returned=Return(left=left, taken=taken, why=why)
        ),
    )


class Trial:
    """Counts the windows of one bundle until it is proven."""

    def __init__(self, site: Site, installed: Installed) -> None:
        self._site, self._installed = site, installed
        self.over = installed.proven
        self._on_time = self._late = 0

    def window(self, *, late: bool) -> bool:
        """One more window was looked at. False: the bundle was given up."""
        if self.over:
            return True
        self._late = self._late + 1 if late else 0
        self._on_time += not late
        if self._late >= MISSES:
            left = give_up(self._site, self._installed, f"missed its watchdog {self._late} times in a row")
            self.over, self._late = left, 0
            return not left
        if self._on_time >= WINDOWS:
            self._prove()
            self.over = True
        return True

    def end(self) -> None:
        """The agent ends in order."""
        if not self.over:
            withdraw(self._site, self._installed)

    def _prove(self) -> None:
        with changing(self._site.folder) as state:
            current = state.current
            if current is not None and current.digest == self._installed.digest:
                proven = msgspec.structs.replace(current, proven=True, starts=0)
                write_deployment(self._site.folder, msgspec.structs.replace(state, current=proven))
