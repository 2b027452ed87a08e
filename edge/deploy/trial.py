"""A new bundle on trial: proven by its first windows, or given up for the last good one.

Given up when it cannot be verified or opened at a start, when agents were ended with it in hand before it was proven
(a crash, a hang, a kill by the system's watchdog; not an orderly end), and when it is late too often in a row; and only
for a previous one that does open.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

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
from edge.deploy.deployment import Deployment, Installed, Return, changing, read_deployment, write_deployment
from edge.deploy.first_try import OPENING_HANGS_S
from edge.deploy.site import Site
from edge.model.opened import Active
from edge.watchdog import ended_if_it_hangs

STARTS = 3
"""Agents may end so many times before a bundle is proven."""
WINDOWS = 3
"""It is proven when so many windows were looked at on time ..."""
MISSES = 3
"""... and given up when so many in a row were late: a window is late that takes longer than the next one to come."""
_log = logging.getLogger("edge")


def begin(site: Site) -> tuple[Active, Installed]:
    """The current bundle for an agent that starts now; or the last good one, if the current one is given up.

    Only a start may conclude from what is on disk that agents ended: while one runs, the same notes are its own.

    Raises `MissingError` if nothing is installed, and as `activate` does if no bundle is left, or for a proven one that
    may run again once its agent is started correctly, for example with the right trust folder.
    """
    if read_deployment(site.folder) == Deployment():
        raise _nothing(site)
    with changing(site.folder) as state:
        state = _without_suspect(site, state)
        current, previous = state.current, state.previous
        suspect = current is not None and not current.proven and current.starts >= STARTS
        if current is not None and suspect and previous is not None and _opens(site, previous):
            _give_up(site, state, f"ended {current.starts} times before it had run {WINDOWS} windows")
    begun = successor(site, None)
    if begun is None:
        raise _nothing(site)
    return begun


def _nothing(site: Site) -> MissingError:
    return MissingError(
        site.folder, "no bundle is installed", expected="one", remedy="edge install BUNDLE, or --bundle B"
    )


def successor(site: Site, in_hand: Active | None) -> tuple[Active, Installed] | None:
    """What an agent that runs takes next, counted and opened; None if it goes on as it is, or nothing is installed.

    `in_hand` itself is returned if it was installed again: its trial begins anew. Raises as `begin`, and what is raised
    was counted for nothing.
    """
    while True:
        with changing(site.folder) as state:
            current = state.current
            if current is None:
                return None
            kept = in_hand if in_hand is not None and in_hand.ref.digest == current.digest else None
            if kept is not None and (current.proven or current.starts > 0):
                return None
            if not current.proven:
                # on disk before it is opened: a library that crashes as it is loaded can only be counted now
                current = msgspec.structs.replace(current, starts=current.starts + 1)
                write_deployment(site.folder, msgspec.structs.replace(state, current=current))
        if kept is not None:
            return kept, current
        try:
            with ended_if_it_hangs(OPENING_HANGS_S) if not current.proven else contextlib.nullcontext():
                return site.active(current), current
        except Exception as error:
            withdraw(site, current)
            if not (_lost(error) or not current.proven) or not give_up(site, current, reason(error)):
                now = read_deployment(site.folder).current
                if now is None or now.digest == current.digest:
                    raise
        except BaseException:  # stopped
            withdraw(site, current)
            raise


def reason(error: BaseException) -> str:
    """An error in one line: ours say everything; others' need their kind."""
    said = str(error) if isinstance(error, PhasewatchError) else f"{type(error).__name__}: {error}"
    return " ".join(said.split())


def _lost(error: Exception) -> bool:
    """Whether a bundle is beyond what another start could mend: its bytes, or its maker's key."""
    if isinstance(error, UnsignedError | UntrustedKeyError):
        return isinstance(error, RevokedKeyError)
    return isinstance(error, BundleError | DigestError | MissingError | TornError)


def _opens(site: Site, installed: Installed) -> bool:
    try:
        site.active(installed)
    except Exception:  # a bundle that raises what nobody thought of does not run either
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
    """An agent ends in order, or goes on with another, before its bundle is proven: its start counts for nothing."""
    _note(site, installed, lambda one: msgspec.structs.replace(one, starts=max(one.starts - 1, 0)))


def _note(site: Site, installed: Installed, change: Callable[[Installed], Installed]) -> None:
    """Where the bundle stands by now: whoever installs another, or rolls back, makes a current one the previous."""
    with changing(site.folder) as state:
        for role in ("current", "previous"):
            one: Installed | None = getattr(state, role)
            if one is not None and one.digest == installed.digest:
                if change(one) != one:
                    write_deployment(site.folder, msgspec.structs.replace(state, **{role: change(one)}))
                return


def give_up(site: Site, installed: Installed, why: str) -> bool:
    """Return from a bundle to the previous one. False if it is not the current one any more, or no other would run."""
    previous = read_deployment(site.folder).previous
    if previous is None or not _opens(site, previous):
        return False
    with changing(site.folder) as state:
        current, now = state.current, state.previous
        if current is None or current.digest != installed.digest or now is None or now.digest != previous.digest:
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
        """The agent ends in order, or goes on with another bundle."""
        if not self.over:
            withdraw(self._site, self._installed)
            self.over = True

    def _prove(self) -> None:
        _note(self._site, self._installed, lambda one: msgspec.structs.replace(one, proven=True, starts=0))
