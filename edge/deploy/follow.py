"""A running agent takes what was installed meanwhile: between two windows, without a restart and without losing one."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from edge.deploy.deployment import STATE, Installed, changing, read_deployment
from edge.deploy.riding import Riding, beside
from edge.deploy.site import Site
from edge.deploy.trial import Trial, begin, reason, successor
from edge.model.opened import Active

_log = logging.getLogger("edge")
Stamp = tuple[int, int]
"""Inode and time of the state file."""


@dataclass(frozen=True)
class _Loaded:
    """What was opened beside the running one. current: None if that stays; shadow: whoever is to ride along now.

    stamp: of the state as this load left it; None if somebody else changed it meanwhile.
    """

    current: tuple[Active, Installed] | None
    shadow: Riding | None
    stamp: Stamp | None


class Follower:
    """What is installed, as it changes. `active` and `shadow` change between windows alone."""

    def __init__(self, site: Site) -> None:
        """Raises as `begin` does."""
        self._site = site
        self._stamp = self._look()
        self.active, installed = begin(site)
        self._trial = Trial(site, installed)
        self._riding: Riding | None = None
        self._dropped: Active | None = None
        try:
            with _going_on(self.active):
                self._riding = beside(site, None)
        except BaseException:  # stopped, in order
            self._trial.end()
            raise
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="bundle")
        self._loading: Future[_Loaded] | None = None

    @property
    def shadow(self) -> Active | None:
        """What rides along."""
        return None if self._riding is None else self._riding.active

    @property
    def on_trial(self) -> bool:
        """Whether the running bundle or its shadow is not proven yet."""
        return not self._trial.over or (self._riding is not None and not self._riding.over)

    def poll(self) -> bool:
        """Call between windows. True: `active` or `shadow` is another from now on. Opening is done beside the work."""
        if self._loading is not None:
            if not self._loading.done():
                return False
            loading, self._loading = self._loading, None
            return self._take(loading)
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            self._loading = self._pool.submit(self._load, self.active, self._riding)
        return False

    def window(self, *, late: bool) -> None:
        """One more window was looked at; a bundle on trial may be given up, and `poll` then brings the other."""
        with _going_on(self.active):
            self._trial.window(late=late)
        if self._riding is not None:
            with _going_on(self.active):
                self._riding.window()

    def drop_shadow(self, why: str) -> None:
        """The shadow failed: it is dismissed, and nothing else happens."""
        if self._riding is None:
            return
        _log.warning("shadow %s is dismissed: %s", self._riding.active.ref.name, why)
        dropped, self._riding = self._riding, None
        self._dropped = dropped.active
        with _going_on(self.active):
            dropped.drop()

    def close(self) -> None:
        """The agent ends in order: that is held against no bundle, those included that it has not taken yet."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        ending: list[Trial | Riding | None] = [self._trial, self._riding]
        if self._loading is not None and not self._loading.cancelled() and self._loading.exception() is None:
            loaded = self._loading.result()
            ending += [loaded.current and Trial(self._site, loaded.current[1]), loaded.shadow]
        for one in ending:
            if one is not None:
                with _going_on(self.active, "ends"):
                    one.end()

    def _look(self) -> Stamp:
        try:
            found = (self._site.folder / STATE).stat()
        except OSError:  # gone, or out of reach: what reads it says so
            return (0, 0)
        return found.st_ino, found.st_mtime_ns

    def _load(self, active: Active, riding: Riding | None) -> _Loaded:
        """In the other thread, which is told what is in hand: by the time it reads this object, that may be another."""
        current = stamp = None
        with _going_on(active):
            before = read_deployment(self._site.folder).roles
            with _going_on(active):
                current = successor(self._site, active)
            riding = beside(self._site, riding)
            with changing(self._site.folder) as state:
                stamp = self._look() if state.roles == before else None
        return _Loaded(current, riding, stamp)

    def _take(self, loading: Future[_Loaded]) -> bool:
        if (error := loading.exception()) is not None:
            _log.warning("%s goes on: %s", self.active.ref.name, reason(error))
            return False
        loaded, before = loading.result(), (self.active, self.shadow)
        self._stamp = loaded.stamp or self._stamp  # its own notes are no news
        if loaded.shadow is None or loaded.shadow.active is not self._dropped:
            self._riding = loaded.shadow
        if loaded.current is not None:
            active, installed = loaded.current
            if active is not self.active:
                _log.info("%s takes over from %s", active.ref.name, self.active.ref.name)
                with _going_on(active):
                    self._trial.end()
            self.active, self._trial = active, Trial(self._site, installed)
        return before != (self.active, self.shadow)


@contextlib.contextmanager
def _going_on(active: Active, does: str = "goes on") -> Iterator[None]:
    """A watch does not end because a bundle cannot be opened, or a note be made."""
    try:
        yield
    except Exception as error:
        _log.warning("%s %s: %s", active.ref.name, does, reason(error))
