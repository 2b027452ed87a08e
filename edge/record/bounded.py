"""A store's recordings that the agent made itself: bounded in bytes, in age and in number, the oldest going first.

Recordings of others are never touched: only those whose manifest names this recorder and this kind.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import PhasewatchError, StorageError
from contracts.telemetry.episode import read_manifest
from contracts.telemetry.manifest import Manifest
from edge.record.part import DRAFT, Part, remove, whole_again

_log = logging.getLogger("edge")
RECORDER = "phasewatch edge"
"""How the manifests of our recordings begin to name their recorder."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What all of them may come to; None for no bound."""

    bytes: int
    age_ns: int | None = None
    count: int | None = None


class Bounded:
    """One kind of recording (a key in their manifests' `host`) in one store."""

    def __init__(self, store: Path, kind: str, bounds: Bounds) -> None:
        self.store, self._kind, self._bounds = store, kind, bounds
        self._known: list[tuple[int, int, Path]] = []  # end, bytes and folder, the oldest first
        self._torn: list[Path] = []

    def recover(self) -> None:
        """What an earlier run left: recordings that were cut off are made whole, and all are counted.

        Raises `OSError`, `StorageError` when the disk will not.
        """
        for draft in sorted(self.store.glob(f"*/*/{DRAFT}")):
            if whole_again(draft.parent):
                _log.info("%s: cut off, and whole again but for its last seconds", draft.parent)
        for path in self.store.glob("*/*/episode.json"):
            try:
                manifest = read_manifest(path.parent)
            except PhasewatchError:
                continue  # whoever sweeps the store is told
            if manifest.recorder.startswith(RECORDER) and self._kind in manifest.host:
                self._know(path.parent, manifest)

    def finish(self, part: Part, ended_wall_ns: int) -> bool:
        """One more; False if it had no length. Raises `OSError`, `StorageError`, and then it is mended later."""
        try:
            part.finish(ended_wall_ns)
        except (OSError, StorageError):
            self.mend_later(part)
            raise
        return self._add(part.folder)

    def mend_later(self, part: Part) -> None:
        """The disk would not take the rest of it: what it has is made an episode as soon as that can be written."""
        part.abandon()
        self._torn.append(part.folder)

    def make_room(self, now_ns: int, more_bytes: int) -> None:
        """Before more is written. Raises `OSError`, `StorageError`."""
        while self._torn:
            if whole_again(self._torn[0]):
                self._add(self._torn[0])
            self._torn.pop(0)
        while self._known and self._too_much(now_ns, more_bytes):
            _, _, folder = self._known.pop(0)
            _log.info("%s: the oldest of its kind goes", folder)
            remove(folder)

    def _add(self, folder: Path) -> bool:
        if not (folder / "episode.json").exists():
            return False
        self._know(folder, read_manifest(folder))
        return True

    def _know(self, folder: Path, manifest: Manifest) -> None:
        self._known.append((manifest.ended_wall_ns, sum(one.bytes for one in manifest.files.values()), folder))
        self._known.sort()

    def _too_much(self, now_ns: int, more_bytes: int) -> bool:
        bounds, oldest = self._bounds, self._known[0][0]
        return (
            sum(size for _, size, _ in self._known) + more_bytes > bounds.bytes
            or (bounds.age_ns is not None and oldest < now_ns - bounds.age_ns)
            or (bounds.count is not None and len(self._known) >= bounds.count)
        )
