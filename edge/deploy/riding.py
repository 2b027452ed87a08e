"""A shadow's first windows beside the current bundle: it is proven by them, or dismissed by the start after a crash."""

from __future__ import annotations

import logging

import msgspec

from edge.deploy.deployment import Installed, changing, write_deployment
from edge.deploy.first_try import OPENING_HANGS_S
from edge.deploy.site import Site
from edge.deploy.trial import WINDOWS, reason
from edge.model.opened import Active
from edge.watchdog import ended_if_it_hangs

_log = logging.getLogger("edge")


class Riding:
    """One shadow, and the windows that it still has to look at before it is proven."""

    def __init__(self, site: Site, installed: Installed, active: Active) -> None:
        self.active = active
        self._site, self._installed = site, installed
        self._left = 0 if installed.proven else WINDOWS

    @property
    def over(self) -> bool:
        """Whether it is proven: until then an end of this process is held against it."""
        return self._left == 0

    def window(self) -> None:
        """One more was looked at. Raises as `changing`, and then that one does not count."""
        if self._left == 1:
            _note(self._site, self._installed, starts=0, proven=True)
        self._left = max(self._left - 1, 0)

    def end(self) -> None:
        """The agent ends in order."""
        if not self.over:
            _note(self._site, self._installed, starts=0)

    def drop(self) -> None:
        """It failed: it is dismissed."""
        with changing(self._site.folder) as state:
            if state.shadow is not None and state.shadow.digest == self._installed.digest:
                write_deployment(self._site.folder, msgspec.structs.replace(state, shadow=None))


def beside(site: Site, in_hand: Riding | None) -> Riding | None:
    """What is to ride along by now: `in_hand` if that is unchanged, None if nothing is, or it cannot be opened.

    One that was installed again keeps its `active`, and its first windows begin anew. Raises as `changing`.
    """
    with changing(site.folder) as state:
        installed = state.shadow
        if installed is None:
            return None
        kept = in_hand if in_hand is not None and in_hand.active.ref.digest == installed.digest else None
        if kept is not None and (installed.proven or installed.starts > 0):
            return kept
        if not installed.proven:  # on disk before it is opened, as with a current one
            installed = msgspec.structs.replace(installed, starts=1)
            write_deployment(site.folder, msgspec.structs.replace(state, shadow=installed))
    if kept is not None:
        return Riding(site, installed, kept.active)
    try:
        with ended_if_it_hangs(OPENING_HANGS_S):
            return Riding(site, installed, site.active(installed))
    except Exception as error:
        _note(site, installed, starts=0)
        _log.warning("shadow %s does not ride along: %s", installed.name, reason(error))
        return None
    except BaseException:  # stopped
        _note(site, installed, starts=0)
        raise


def _note(site: Site, installed: Installed, *, starts: int, proven: bool = False) -> None:
    with changing(site.folder) as state:
        if state.shadow is not None and state.shadow.digest == installed.digest:
            noted = msgspec.structs.replace(state.shadow, starts=starts, proven=proven or state.shadow.proven)
            if noted != state.shadow:
                write_deployment(site.folder, msgspec.structs.replace(state, shadow=noted))
