"""A store's recordings that the agent made itself: bounded in bytes, in age and in number, the oldest going first.

Recordings of others are never touched: only those whose manifest names this recorder and this kind.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import PhasewatchError
from contracts.files import locked
from contracts.telemetry.episode import DRAFT, read_manifest
from contracts.telemetry.manifest import Manifest
from edge.record.part import Part, remove, whole_again

_log = logging.getLogger("edge")
RECORDER = "phasewatch edge"
"""How the manifests of our recordings begin to name their recorder."""


def recorder() -> str:
    """As manifests name us."""
    return f"{RECORDER} {importlib.metadata.version('phasewatch')}"


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What all of them may come to; None for no bound."""

    bytes: int
    age_ns: int | None = None
    count: int | None = None


class Bounded:
    """One kind of recording (a key in their manifests' `host`) in one store.

    All but `lock` is called in the recorder's thread. Raises `OSError`, `PhasewatchError` when the disk will not.
    """

    def __init__(self, store: Path, kind: str, bounds: Bounds) -> None:
        self.store, self._kind, self._bounds = store, kind, bounds
        self._known: list[tuple[int, int, Path]] = []
        """End (Unix ns), bytes and folder, in the order in which they were made."""
        self._torn: list[Path] = []
        self._ages = True

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Against other agents, which would take each other's open parts for torn ones. Raises `BusyError`."""
        return locked(self.store / f".{self._kind}.lock")

    def recover(self) -> None:
        """What an earlier run left: all are counted, and those that were cut off are made whole."""
        found = []
        for path in self.store.glob("*/*/episode.json"):
            try:
                manifest = read_manifest(path.parent)
            except PhasewatchError:
                continue  # whoever sweeps the store is told
            if self._is_ours(manifest):
                found.append((manifest.ended_wall_ns, _size(manifest), path.parent))
        self._known = sorted(found)
        self._torn = sorted(path.parent for path in self.store.glob(f"*/*/{DRAFT}"))
        self._mend()

    def finish(self, part: Part, ended_wall_ns: int) -> bool:
        """One more; False if it had no length. Where it cannot be finished now, it is mended later."""
        try:
            part.finish(ended_wall_ns)
        except (OSError, PhasewatchError):
            self.mend_later(part)
            raise
        return self._add(part.folder)

    def mend_later(self, part: Part) -> None:
        """The disk would not take the rest of it: what it has is made an episode as soon as that can be written."""
        part.abandon()
        self._torn.append(part.folder)

    def doubt_clock(self) -> None:
        """It was set by more than any time service would: nothing goes because of its age from now on."""
        self._ages = False

    def make_room(self, now_ns: int, more_bytes: int) -> None:
        """Before more is written."""
        while self._known and self._too_much(now_ns, more_bytes):
            _, _, folder = self._known.pop(0)
            _log.info("%s: the oldest of its kind goes", folder)
            remove(folder)
        self._mend()

    def _mend(self) -> None:
        while self._torn:
            folder = self._torn[0]
            if whole_again(folder, self._is_ours) and self._add(folder):
                _log.info("%s: cut off, and whole again but for its last seconds", folder)
            self._torn.pop(0)

    def _is_ours(self, manifest: Manifest) -> bool:
        return manifest.recorder.startswith(RECORDER) and self._kind in manifest.host

    def _add(self, folder: Path) -> bool:
        if not (folder / "episode.json").exists():
            return False
        manifest = read_manifest(folder)
        self._known.append((manifest.ended_wall_ns, _size(manifest), folder))
        return True

    def _too_much(self, now_ns: int, more_bytes: int) -> bool:
        bounds, oldest = self._bounds, self._known[0][0]
        return (
            sum(size for _, size, _ in self._known) + more_bytes > bounds.bytes
            or (self._ages and bounds.age_ns is not None and oldest < now_ns - bounds.age_ns)
            or (bounds.count is not None and len(self._known) >= bounds.count)
        )


def _size(manifest: Manifest) -> int:
    return sum(one.bytes for one in manifest.files.values())
