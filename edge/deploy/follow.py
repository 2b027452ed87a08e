"""A running agent takes what was installed meanwhile: between two windows, without a restart and without losing one."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import msgspec

from contracts.errors import PhasewatchError
from edge.deploy.active import Active
from edge.deploy.deployment import STATE, Installed, changing, read_deployment, write_deployment
from edge.deploy.trial import Trial, begin
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
    """What was opened beside the running one; None where that did not change."""

    current: tuple[Active, Installed] | None
    shadow: Active | None


class Follower:
    """What is installed, as it changes. `active` and `shadow` change in `poll` alone."""

    def __init__(self, site: Site) -> None:
        """Raises as `begin` does."""
        self._site = site
        self._stamp = self._look()
        self.active, installed = begin(site)
        self._trial = Trial(site, installed)
        self.shadow = self._open_shadow()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="bundle")
        self._loading: Future[_Loaded] | None = None

    @property
    def on_trial(self) -> bool:
        """Whether the running bundle is not proven yet."""
        return not self._trial.over

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
        try:
            self._trial.window(late=late)
        except PhasewatchError as error:
            _log.warning("what is installed cannot be kept: %s", error)

    def drop_shadow(self, why: str) -> None:
        """The shadow failed: it is dismissed, and nothing else happens."""
        if self.shadow is None:
            return
        _log.warning("shadow %s is dismissed: %s", self.shadow.ref.name, why)
        digest, self.shadow = self.shadow.ref.digest, None
        try:
            with changing(self._site.folder) as state:
                if state.shadow is not None and state.shadow.digest == digest:
                    write_deployment(self._site.folder, msgspec.structs.replace(state, shadow=None))
        except PhasewatchError as error:
            _log.warning("what is installed cannot be kept: %s", error)

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _look(self) -> tuple[int, int]:
        try:
            found = (self._site.folder / STATE).stat()
        except FileNotFoundError:
            return (0, 0)
        return found.st_ino, found.st_mtime_ns

    def _load(self) -> _Loaded:
        current = read_deployment(self._site.folder).current
        changed = current is not None and current.digest != self.active.ref.digest
        return _Loaded(begin(self._site) if changed else None, self._open_shadow())

    def _open_shadow(self) -> Active | None:
        installed = read_deployment(self._site.folder).shadow
        if installed is None:
            return None
        before: Active | None = getattr(self, "shadow", None)
        if before is not None and before.ref.digest == installed.digest:
            return before
        try:
            return self._site.active(installed)
        except PhasewatchError as error:
            _log.warning("shadow %s does not ride along: %s", installed.name, error)
            return None

    def _take(self, loading: Future[_Loaded]) -> bool:
        try:
            loaded = loading.result()
        except PhasewatchError as error:
            _log.warning("%s goes on: %s", self.active.ref.name, error)
            return False
        changed = loaded.shadow is not self.shadow
        self.shadow = loaded.shadow
        if loaded.current is not None and loaded.current[0].ref.digest != self.active.ref.digest:
            _log.info("%s takes over from %s", loaded.current[0].ref.name, self.active.ref.name)
            self.active, installed = loaded.current
            self._trial = Trial(self._site, installed)
            changed = True
        return changed
