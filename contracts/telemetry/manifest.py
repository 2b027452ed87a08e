"""`episode.json`: what an episode is, and the digests of its files as stored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from contracts.types import Amount, Name, Nanoseconds, Sha256

StoredName = Annotated[str, msgspec.Meta(pattern=r"^(proc|qmp|guest|netflow|labels)\.jsonl(\.zst)?$(?!\n)")]
"""The only names that a manifest may list: none of them leaves the episode's folder."""


class FileEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file as stored (compressed, if it is): digest, size in bytes, and its number of rows."""

    sha256: Sha256
    bytes: Amount
    rows: Amount


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One recorded run of one guest on one host."""

    format: Literal[1]
    episode_id: Name
    host_id: Name
    guest_id: Name
    guest_addresses: list[Annotated[str, msgspec.Meta(max_length=64)]]
    profile: Name
    sample_name: Name
    started_wall_ns: Nanoseconds
    ended_wall_ns: Nanoseconds
    recorder: str
    host: dict[str, Any] = msgspec.field(default_factory=dict)
    sample: dict[str, Any] = msgspec.field(default_factory=dict)
    files: dict[StoredName, FileEntry]

    def file_of(self, stem: str) -> str | None:
        """The stored name of a source's rows (`proc`) or of the labels, if the episode has them."""
        return next((name for name in (f"{stem}.jsonl.zst", f"{stem}.jsonl") if name in self.files), None)
