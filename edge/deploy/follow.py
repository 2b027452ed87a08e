"""A running agent takes what was installed meanwhile: between two windows, without a restart and without losing one."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import msgspec

from contracts.errors import PhasewatchError
from edge.deploy.active import Active
from edge.deploy.apart import HANGS_S, ended_if_it_hangs
from edge.deploy.deployment import STATE, Installed, changing, read_deployment, write_deployment
from edge.deploy.trial import WINDOWS, Trial, begin
from edge.deploy.verbs import Site

_log = logging.getLogger("edge")


class Fixed:
    """One bundle for as long as the agent runs, named by whoever started it."""

    def __init__(self, active: Active) -> None:
        self.active, self.shadow = active, None
        self.on_trial = False

    def poll(self) -> bool:
        """Nothing changes."""
        return False

    def window(self, *, late: bool) -> None:
        """Nothing is on trial."""

    def drop_shadow(self, why: str) -> None:
        """There is none."""

    def close(self) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class _Loaded:
    """What was opened beside the running one. current: None if it is the same; again: it is, and on trial anew."""

    current: tuple[Active, Installed] | None
    again: Installed | None
    shadow: Active | None


class Follower:
    """What is installed, as it changes. `active` and `shadow` change in `poll` alone."""

    def __init__(self, site: Site) -> None:
        """Raises as `begin` does."""
        self._site = site
        self._stamp = self._look()
        self.active, installed = begin(site)
        self._trial = Trial(site, installed)
        self.shadow: Active | None = None
        self._looks = WINDOWS
        """Windows that a new shadow still has to look at; until then an end of this process is held against it."""
        self._take_shadow(self._open_shadow())
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="bundle")
        self._loading: Future[_Loaded] | None = None

    @property
    def on_trial(self) -> bool:
        """Whether the running bundle or its shadow is not proven yet."""
        return not self._trial.over or (self.shadow is not None and self._looks > 0)

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
            self._loading = self._pool.submit(self._load)
        return False

    def window(self, *, late: bool) -> None:
        """One more window was looked at; a bundle on trial may be given up, and `poll` then brings the other."""
        with self._whatever_the_disk_says():
            self._trial.window(late=late)
            if self.shadow is not None and self._looks > 0:
                self._looks -= 1
                if self._looks == 0:
                    self._note_shadow(self.shadow, starts=0, proven=True)

    def drop_shadow(self, why: str) -> None:
        """The shadow failed: it is dismissed, and nothing else happens."""
        if self.shadow is None:
            return
        _log.warning("shadow %s is dismissed: %s", self.shadow.ref.name, why)
        digest, self.shadow = self.shadow.ref.digest, None
        with self._whatever_the_disk_says(), changing(self._site.folder) as state:
            if state.shadow is not None and state.shadow.digest == digest:
                write_deployment(self._site.folder, msgspec.structs.replace(state, shadow=None))

    def close(self) -> None:
        """The agent ends in order: that is held against no bundle."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        with self._whatever_the_disk_says():
            self._trial.end()
            if self.shadow is not None and self._looks > 0:
                self._note_shadow(self.shadow, starts=0, proven=False)

    @contextlib.contextmanager
    def _whatever_the_disk_says(self) -> Iterator[None]:
        """A watch does not end because a note cannot be made."""
        try:
            yield
        except PhasewatchError as error:
            _log.warning("what is installed cannot be kept: %s", error)

    def _look(self) -> tuple[int, int]:
        try:
            found = (self._site.folder / STATE).stat()
        except FileNotFoundError:
            return (0, 0)
        return found.st_ino, found.st_mtime_ns

    def _load(self) -> _Loaded:
        """In the other thread."""
        current = read_deployment(self._site.folder).current
        if current is not None and current.digest != self.active.ref.digest:
            return _Loaded(begin(self._site), None, self._open_shadow())
        anew = current if current is not None and not current.proven and self._trial.over else None
        return _Loaded(None, anew, self._open_shadow())

    def _open_shadow(self) -> Active | None:
        installed = read_deployment(self._site.folder).shadow
        if installed is None:
            return None
        if self.shadow is not None and self.shadow.ref.digest == installed.digest:
            return self.shadow
        try:
            if not installed.proven:  # on disk before it is opened, as with a current one
                self._note_shadow(installed, starts=1, proven=False)
            with ended_if_it_hangs(HANGS_S):
                return self._site.active(installed)
        except PhasewatchError as error:
            _log.warning("shadow %s does not ride along: %s", installed.name, error)
            return None

    def _note_shadow(self, shadow: Active | Installed, *, starts: int, proven: bool) -> None:
        digest = shadow.digest if isinstance(shadow, Installed) else shadow.ref.digest
        with changing(self._site.folder) as state:
            if state.shadow is not None and state.shadow.digest == digest:
                noted = msgspec.structs.replace(state.shadow, starts=starts, proven=proven)
                write_deployment(self._site.folder, msgspec.structs.replace(state, shadow=noted))

    def _take_shadow(self, shadow: Active | None) -> bool:
        if shadow is self.shadow:
            return False
        self.shadow, self._looks = shadow, WINDOWS
        return True

    def _take(self, loading: Future[_Loaded]) -> bool:
        try:
            loaded = loading.result()
        except PhasewatchError as error:
            _log.warning("%s goes on: %s", self.active.ref.name, error)
            return False
        changed = self._take_shadow(loaded.shadow)
        if loaded.again is not None:
            self._trial = Trial(self._site, loaded.again)
        if loaded.current is not None and loaded.current[0].ref.digest != self.active.ref.digest:
            _log.info("%s takes over from %s", loaded.current[0].ref.name, self.active.ref.name)
            self.active, installed = loaded.current
            self._trial = Trial(self._site, installed)
            changed = True
        return changed
