"""What the sweep says of one episode, and how it knows an episode again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from contracts.text import printable
from contracts.vocabulary import SOURCES, Source
from trainer.sweep.checks import SourceFacts
from trainer.sweep.reasons import Reason, Verdict, worst
from trainer.versions import VALIDATOR_VERSION


class Finding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the sweep says of one episode. `path` is below the store; times in Unix ns, -1 where not known."""

    path: str
    host_id: str
    episode_id: str
    guest_id: str = ""
    profile: str = ""
    sample_name: str = ""
    started_wall_ns: int = -1
    ended_wall_ns: int = -1
    verdict: Verdict
    reasons: list[Reason]
    sources: dict[Source, SourceFacts] = {}
    stored_bytes: int = 0
    windows: int = 0
    """Windows wholly inside the episode, by this version's default schema."""
    manifest_sha256: str = ""
    content_sha256: str = ""
    """Over its decoded rows: equal for two episodes that hold the same, however they are stored and named."""
    sketch: list[int] = []
    boots: list[str] = []
    """See `trainer.sweep.identity`."""
    fingerprint: str
    validator_version: int = VALIDATOR_VERSION

    @property
    def usable_sources(self) -> tuple[Source, ...]:
        """Sources whose channels count as observed."""
        return tuple(source for source in SOURCES if source in self.sources and self.sources[source].usable)


def lost(folder: Path) -> Finding:
    """The finding on an episode whose worker died."""
    return without_manifest(folder, fingerprint(folder), Reason("worker-lost", "", "its worker ended without a word"))


def fingerprint(folder: Path) -> str:
    """Names, sizes and times of a folder's files, digested: equal as long as nobody touched them."""
    lines = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                stat = entry.stat(follow_symlinks=False)
                lines.append(f"{entry.name} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}")
    except OSError as error:
        lines.append(f"unreadable {error.errno}")
    return hashlib.sha256("\n".join(sorted(lines)).encode(errors="surrogateescape")).hexdigest()[:32]


def without_manifest(folder: Path, mark: str, reason: Reason) -> Finding:
    return Finding(
        path=relative(folder),
        host_id=printable(folder.parent.name),
        episode_id=printable(folder.name),
        verdict=worst([reason]),
        reasons=[reason],
        fingerprint=mark,
    )


def relative(folder: Path) -> str:
    """`<host>/<episode>`: how the index names a folder. What cannot be printed is escaped."""
    return printable(f"{folder.parent.name}/{folder.name}")
