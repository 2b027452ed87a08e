"""Real recordings for tests, and ways to spoil a copy of one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from contracts.features.schema import FeatureSchema
from contracts.files import sha256
from contracts.telemetry.episode import Episode
from contracts.telemetry.zstd import compress, expanded
from contracts.vocabulary import Source
from edge.extract import Columns, columns_of

CORPUS = Path(__file__).parent / "corpus"
"""The bundled recordings."""
ORDERED = Path(__file__).parent / "corpus-ordered"
"""Twelve earlier and shorter ones, whose phases come in a fixed order: the example of a leak, and quick to read."""
ONE = ORDERED / "lab-q35-2" / "lab-q35-2-io-walk-s01"

FEW = {"arm-1": (23, 47, 53), "micro-1": (27, 39), "pc-1": (24, 36, 42), "pc-2": (19, 37, 85)}
"""Numbers of short recordings, by host: arm-1 is held out, each profile is learned from, every side has all phases."""
SOME = {
    "arm-1": (17, 23, 29, 35, 53, 65),
    "micro-1": (21, 27, 39, 51, 63, 69, 87, 99),
    "pc-half": (14, 26, 32, 50, 56, 74, 92),
}
"""By every recipe's rule there is a split. arm-1 lacks cpu-saturate."""


def of_corpus(host: str, number: int) -> Path:
    """One of the bundled recordings."""
    return CORPUS / host / f"corpus-1-{number:04}"


def few(store: Path) -> Path:
    """A store of 11 of the 102 bundled recordings, on which a build takes less long."""
    return _part(store, FEW)


def some(store: Path) -> Path:
    """A store of 21 of the 102, which every recipe can split, whichever host is held out."""
    return _part(store, SOME)


def _part(store: Path, chosen: Mapping[str, Sequence[int]]) -> Path:
    for host, numbers in chosen.items():
        for number in numbers:
            copy_of(of_corpus(host, number), store)
    return store


def copy_of(episode: Path, store: Path) -> Path:
    """A copy of an episode inside a store."""
    folder = store / episode.parent.name / episode.name
    shutil.copytree(episode, folder)
    return folder


def expand(data: bytes, path: Path) -> bytes:
    """The text of a compressed file."""
    return b"".join(expanded(data, path))


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change episode.json."""
    path = folder / "episode.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def rename(folder: Path, **ids: str) -> None:
    """Give an episode other ids in its manifest."""
    edit_manifest(folder, lambda manifest: manifest.update(ids))


def edit_lines(folder: Path, stem: str, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change a file's lines, and make the manifest agree with the new bytes."""
    path = folder / f"{stem}.jsonl.zst"
    lines = change(expand(path.read_bytes(), path).splitlines())
    stored = compress(b"".join(line + b"\n" for line in lines))
    path.write_bytes(stored)

    def agree(manifest: dict[str, Any]) -> None:
        manifest["files"][path.name] = {"sha256": sha256(stored), "bytes": len(stored), "rows": len(lines)}

    edit_manifest(folder, agree)


def other_run(folder: Path, number: int) -> None:
    """Make a copy the recording of another guest: other process, other boot, and a feed that was heard so many
    nanoseconds later, of which its first row is enough to tell. number: which, from 1."""

    def other(lines: list[bytes]) -> list[bytes]:
        started = msgspec.json.decode(lines[0])["starttime"]
        old, new = (b'"starttime":%d,' % start for start in (started, started + 1000 * number))
        return [line.replace(old, new) for line in lines]

    def booted(lines: list[bytes]) -> list[bytes]:
        boot = str(msgspec.json.decode(lines[0])["boot_id"]).encode()
        first = msgspec.json.decode(lines[0])
        later = {name: first[name] + number for name in ("t_wall_ns", "t_mono_ns")}
        lines = [msgspec.json.encode({**first, **later}), *lines[1:]]
        return [line.replace(boot, b"%08x" % number + boot[8:]) for line in lines]

    edit_lines(folder, "proc", other)
    edit_lines(folder, "guest", booted)


def edit_row(folder: Path, stem: str, number: int, change: Callable[[dict[str, Any]], None]) -> None:
    """Change one row of a file (counted from 0), and make the manifest agree."""

    def edit(lines: list[bytes]) -> list[bytes]:
        row = msgspec.json.decode(lines[number])
        change(row)
        return [*lines[:number], msgspec.json.encode(row), *lines[number + 1 :]]

    edit_lines(folder, stem, edit)


def columns_of_episode(episode: Episode, schema: FeatureSchema) -> dict[Source, Columns]:
    """All sources of an episode as columns."""
    addresses = frozenset(episode.manifest.guest_addresses)
    return {source: columns_of(rows, source, schema.channels, addresses) for source, rows in episode.rows.items()}
