"""A new bundle on trial: proven by its first windows, or given up for the last good one.

Given up when it cannot be verified or opened at a start, when agents ended with it in hand before it was proven (a
crash, a hang, a kill by the system's watchdog), and when it is late too often in a row.
"""

from __future__ import annotations

import contextlib
import logging

import msgspec

from contracts.errors import MissingError, PhasewatchError
from edge.deploy.active import Active
from edge.deploy.apart import HANGS_S, ended_if_it_hangs
from edge.deploy.deployment import Deployment, Installed, Return, changing, write_deployment
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

    Raises `MissingError` if nothing is installed, and as `activate` does if no bundle is left.
    """
    while True:
        with changing(site.folder) as state:
            current = state.current
            if current is None:
                raise MissingError(
                    site.folder, "no bundle is installed", expected="one", remedy="edge install BUNDLE, or --bundle B"
                )
            if not current.proven:
                if current.starts >= STARTS and state.previous is not None:
                    _give_up(site, state, f"ended {current.starts} times before it had run {WINDOWS} windows")
                    continue
                # on disk before it is opened: a library that crashes as it is loaded can only be counted now
                current = msgspec.structs.replace(current, starts=current.starts + 1)
                write_deployment(site.folder, msgspec.structs.replace(state, current=current))
        try:
            with ended_if_it_hangs(HANGS_S) if not current.proven else contextlib.nullcontext():
                return site.active(current), current
        except PhasewatchError as error:
            if not give_up(site, current, str(error)):
                raise


def give_up(site: Site, installed: Installed, why: str) -> bool:
    """Return from a bundle to the previous one. False if it is not the current one any more, or the only one."""
    with changing(site.folder) as state:
        if state.current is None or state.current.digest != installed.digest or state.previous is None:
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
            self.over = True
            return not give_up(self._site, self._installed, f"missed its watchdog {self._late} times in a row")
        if self._on_time >= WINDOWS:
            self.over = True
            self._prove()
        return True

    def _prove(self) -> None:
        with changing(self._site.folder) as state:
            current = state.current
            if current is not None and current.digest == self._installed.digest:
                proven = msgspec.structs.replace(current, proven=True, starts=0)
                write_deployment(self._site.folder, msgspec.structs.replace(state, current=proven))
