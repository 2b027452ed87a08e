"""Reading and writing episodes: what is whole comes back whole, what is not is refused in one line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import (
    ClockError,
    DigestError,
    LabelError,
    MissingError,
    PhasewatchError,
    RowError,
    StorageError,
    TornError,
)
from contracts.files import sha256
from contracts.telemetry.episode import Episode, find_episodes, read_episode, write_episode
from contracts.telemetry.zstd import compress
from contracts.vocabulary import SOURCES
from tests.recordings import CORPUS, ONE, ORDERED, copy_of, edit_lines, edit_manifest, edit_row


def test_recordings_read_whole() -> None:
    """The earlier ones, each with five phases, and every sixth of the bundled ones."""
    earlier = [read_episode(path) for path in find_episodes(ORDERED)]
    later = [read_episode(path) for path in find_episodes(CORPUS)[::6]]
    assert (len(earlier), len(later)) == (12, 17)
    assert all(set(one.rows) == set(SOURCES) for one in (*earlier, *later))
    assert all(len(one.labels) == 5 for one in earlier)
    assert all(one.labels for one in later)


@pytest.mark.parametrize("zstd", [True, False])
def test_write_episode_then_read_gives_the_same(tmp_path: Path, episode: Episode, zstd: bool) -> None:
    manifest = write_episode(tmp_path / "e", episode.manifest, episode.rows, episode.labels, zstd=zstd)
    again = read_episode(tmp_path / "e")
    assert again.rows == episode.rows
    assert again.labels == episode.labels
    assert again.manifest == manifest
    assert all(name.endswith(".zst") == zstd for name in manifest.files)


def test_write_episode_leaves_no_manifest_when_the_disk_is_full(
    tmp_path: Path, episode: Episode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"cannot be written \(No space left on device\)"):
        write_episode(tmp_path / "e", episode.manifest, episode.rows, episode.labels)
    assert list((tmp_path / "e").iterdir()) == []


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _replace(path: Path, make: Callable[[Path], None]) -> None:
    path.unlink()
    make(path)


def _fitting(folder: Path, name: str, data: bytes) -> None:
    """Put bytes in place of a file and make the manifest vouch for them."""
    (folder / name).write_bytes(data)
    entry = {"sha256": sha256(data), "bytes": len(data), "rows": 1}
    edit_manifest(folder, lambda manifest: manifest["files"].update({name: entry}))


_ENTRY = json.dumps({"sha256": "0" * 64, "bytes": 1, "rows": 1})

SPOILS: dict[str, tuple[Callable[[Path], None], type[PhasewatchError], str]] = {
    "torn, and the manifest knows better": (
        lambda e: _cut(e / "proc.jsonl.zst"),
        DigestError,
        r"proc\.jsonl\.zst: sha256 .*; expected .* as episode\.json says; copy the file again",
    ),
    "torn before it was counted": (
        lambda e: _fitting(e, "proc.jsonl.zst", (e / "proc.jsonl.zst").read_bytes()[:-20]),
        TornError,
        r"proc\.jsonl\.zst: ends in the middle of a zstd frame",
    ),
    "not zstd": (lambda e: _fitting(e, "qmp.jsonl.zst", b"hello"), TornError, r"qmp\.jsonl\.zst: not zstd"),
    "a bomb": (
        lambda e: _fitting(e, "qmp.jsonl.zst", compress(b"\n" * (8 << 20))),
        TornError,
        r"qmp\.jsonl\.zst: expands past \d+ bytes",
    ),
    "a missing file": (
        lambda e: (e / "guest.jsonl.zst").unlink(),
        MissingError,
        r"guest\.jsonl\.zst: no such file; expected a regular file; copy it again",
    ),
    "a link": (
        lambda e: _replace(e / "guest.jsonl.zst", lambda path: path.symlink_to(ONE / path.name)),
        MissingError,
        r"guest\.jsonl\.zst: a symbolic link; expected a regular file",
    ),
    "a folder in place of a file": (
        lambda e: _replace(e / "guest.jsonl.zst", Path.mkdir),
        MissingError,
        r"guest\.jsonl\.zst: not a regular file",
    ),
    "a wrong sha256": (
        lambda e: edit_manifest(e, lambda m: m["files"]["proc.jsonl.zst"].update(sha256="0" * 64)),
        DigestError,
        r"proc\.jsonl\.zst: sha256 .*; expected 000000000000",
    ),
    "a wrong count": (
        lambda e: edit_manifest(e, lambda m: m["files"]["proc.jsonl.zst"].update(rows=7)),
        RowError,
        r"proc\.jsonl\.zst: \d+ rows; expected 7, as episode\.json says",
    ),
    "an unknown field": (
        lambda e: edit_row(e, "proc", 3, lambda row: row.update(colour="red")),
        RowError,
        r"proc\.jsonl\.zst:4: Object contains unknown field `colour`; expected a row of proc",
    ),
    "a missing field": (
        lambda e: edit_row(e, "qmp", 0, lambda row: row.pop("wr_bytes")),
        RowError,
        r"qmp\.jsonl\.zst:1: Object missing required field `wr_bytes`",
    ),
    "a string for a number": (
        lambda e: edit_row(e, "proc", 9, lambda row: row.update(utime="12")),
        RowError,
        r"proc\.jsonl\.zst:10: Expected `int \| null`, got `str` - at `\$\.utime`",
    ),
    "a negative time": (
        lambda e: edit_row(e, "proc", 0, lambda row: row.update(t_wall_ns=-1)),
        RowError,
        r"proc\.jsonl\.zst:1: Expected `int` >= 0 - at `\$\.t_wall_ns`",
    ),
    "1e308 for a counter": (
        lambda e: edit_lines(e, "qmp", lambda lines: [lines[0].replace(b'"wr_bytes":', b'"wr_bytes":1e308,"x":')]),
        RowError,
        r"qmp\.jsonl\.zst:1: Expected `int \| null`",
    ),
    "NaN": (
        lambda e: edit_lines(e, "qmp", lambda lines: [lines[0].replace(b'"wr_bytes":', b'"wr_bytes":NaN,"x":')]),
        RowError,
        r"qmp\.jsonl\.zst:1: JSON is malformed",
    ),
    "bytes that are no text": (
        lambda e: edit_lines(e, "guest", lambda lines: [*lines, b'{"boot_id":"\xff"}']),
        RowError,
        r"guest\.jsonl\.zst:\d+: ",
    ),
    "labels out of order": (
        lambda e: edit_lines(e, "labels", lambda lines: [lines[0], lines[2], lines[1], *lines[3:]]),
        LabelError,
        r"labels\.jsonl\.zst:3: armed at \d+, not after the label before it; expected labels in order of time",
    ),
    "a label outside": (
        lambda e: edit_row(e, "labels", 0, lambda row: row.update(t_wall_ns=1)),
        LabelError,
        r"labels\.jsonl\.zst:1: clean at 1, outside the episode",
    ),
    "a clock that was set back": (
        lambda e: edit_row(e, "labels", 4, lambda row: row.update(t_wall_ns=row["t_wall_ns"] - 60_000_000_000)),
        ClockError,
        r"labels\.jsonl\.zst:5: dormant: the wall clock was set back by 60\.000 s since the label before it; expected "
        r"a clock that was set before recording began; wait for the clock to be set, then record it again",
    ),
    "an unknown phase": (
        lambda e: edit_row(e, "labels", 0, lambda row: row.update(phase="napping")),
        RowError,
        r"labels\.jsonl\.zst:1: Invalid enum value 'napping'",
    ),
    "no labels in the file": (
        lambda e: edit_lines(e, "labels", lambda _: []),
        LabelError,
        r"labels\.jsonl\.zst: no labels",
    ),
    "no netflow": (
        lambda e: edit_manifest(e, lambda m: m["files"].pop("netflow.jsonl.zst")),
        MissingError,
        r"episode\.json: no netflow file; expected rows of proc, qmp, guest, netflow; .*--allow-missing-source",
    ),
    "a name that leaves the folder": (
        lambda e: edit_manifest(e, lambda m: m["files"].update({"../x.jsonl": m["files"]["qmp.jsonl.zst"]})),
        RowError,
        r"episode\.json: Expected `str` matching regex",
    ),
    "an id that is a path": (
        lambda e: edit_manifest(e, lambda m: m.update(episode_id="../../etc")),
        RowError,
        r"episode\.json: Expected `str` matching regex .* - at `\$\.episode_id`",
    ),
    "an id with a line break": (
        lambda e: edit_manifest(e, lambda m: m.update(guest_id="guest\n")),
        RowError,
        r"episode\.json: Expected `str` matching regex .* - at `\$\.guest_id`",
    ),
    "a manifest nested without end": (
        lambda e: _write(e / "episode.json", '{"host":' + '{"a":' * 100_000),
        RowError,
        r"episode\.json: .*; expected an episode manifest of format 1",
    ),
    "an episode of a century": (
        lambda e: edit_manifest(e, lambda m: m.update(ended_wall_ns=2**62)),
        RowError,
        r"episode\.json: an episode of \d+ days; expected 31 at most; split it, or, if it was shorter, wait for",
    ),
    "too many frames": (
        lambda e: _fitting(e, "qmp.jsonl.zst", compress(b"") * 100),
        TornError,
        r"qmp\.jsonl\.zst: 65 zstd frames in 0 bytes of rows; expected a row in a frame at least",
    ),
    "an end before its start": (
        lambda e: edit_manifest(e, lambda m: m.update(ended_wall_ns=1)),
        ClockError,
        r"episode\.json: ends \d+\.\d{3} s before it starts",
    ),
    "an end at its start": (
        lambda e: edit_manifest(e, lambda m: m.update(ended_wall_ns=m["started_wall_ns"])),
        RowError,
        r"episode\.json: ended_wall_ns equal to started_wall_ns; expected a later end",
    ),
    "a start in 1970": (
        lambda e: edit_manifest(e, lambda m: m.update(started_wall_ns=5_000_000_000)),
        ClockError,
        r"episode\.json: starts at 1970-01-01T00:00:05Z and lasts \d+ days",
    ),
    "two files of one source": (
        lambda e: edit_manifest(e, lambda m: m["files"].update({"qmp.jsonl": json.loads(_ENTRY)})),
        RowError,
        r"episode\.json: both qmp\.jsonl\.zst and qmp\.jsonl; expected one file of qmp; record",
    ),
    "two files of labels": (
        lambda e: edit_manifest(e, lambda m: m["files"].update({"labels.jsonl": m["files"]["labels.jsonl.zst"]})),
        RowError,
        r"episode\.json: both labels\.jsonl\.zst and labels\.jsonl; expected one file of labels",
    ),
    "a key of the manifest twice": (
        lambda e: _replaced(e / "episode.json", '"guest_id"', '"profile": "io-walk", "guest_id"'),
        RowError,
        r"episode\.json: `profile` twice; expected each key once; record",
    ),
    "a file of the manifest twice": (
        lambda e: _replaced(e / "episode.json", '"files": {', f'"files": {{"qmp.jsonl.zst": {_ENTRY},'),
        RowError,
        r"episode\.json: `qmp\.jsonl\.zst` twice; expected each key once",
    ),
    "a file's size twice": (
        lambda e: _replaced(e / "episode.json", '"bytes":', '"bytes": 1, "bytes":'),
        RowError,
        r"episode\.json: `bytes` twice; expected each key once",
    ),
    "a note of the host twice": (
        lambda e: _replaced(e / "episode.json", '"machine":', '"kernel": {}, "machine":'),
        RowError,
        r"episode\.json: `kernel` twice; expected each key once",
    ),
    "a field of a row twice": (
        lambda e: edit_lines(e, "qmp", lambda x: [*x[:6], x[6].replace(b"{", b'{"wr_bytes":1,'), *x[7:]]),
        RowError,
        r"qmp\.jsonl\.zst:7: `wr_bytes` twice; expected a row of qmp",
    ),
    "two rows on a line": (
        lambda e: edit_lines(e, "proc", lambda x: [*x[:6], x[6] + x[7], *x[8:]]),
        RowError,
        r"proc\.jsonl\.zst:7: JSON is malformed: trailing characters .*; expected a row of proc",
    ),
    "bad JSON": (
        lambda e: _write(e / "episode.json", "{"),
        RowError,
        r"episode\.json: Input data was truncated",
    ),
}


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("spoil", SPOILS)
def test_read_episode_refuses_in_one_line(spoiled: Path, spoil: str) -> None:
    change, kind, message = SPOILS[spoil]
    change(spoiled)
    with pytest.raises(kind, match=message) as refusal:
        read_episode(spoiled)
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).startswith(str(spoiled))


def test_read_episode_without_netflow_passes_when_allowed(spoiled: Path) -> None:
    edit_manifest(spoiled, lambda manifest: manifest["files"].pop("netflow.jsonl.zst"))
    assert read_episode(spoiled, allow_missing=True).missing == ("netflow",)


def test_find_episodes_refuses_an_empty_store(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"an empty store; expected <host_id>/<episode_id>/episode\.json"):
        find_episodes(tmp_path)
    with pytest.raises(MissingError, match="no such folder"):
        find_episodes(tmp_path / "absent")


def refusal_of(folder: Path) -> str:
    """What an episode is refused with, empty if it is not. Anything but one of our own errors goes through."""
    try:
        read_episode(folder)
    except PhasewatchError as error:
        return str(error)
    return ""


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([*SOURCES, "labels"]), st.data())
def test_read_episode_with_any_value_in_any_field_reads_or_refuses(
    tmp_path_factory: pytest.TempPathFactory, stem: str, data: st.DataObject
) -> None:
    folder = copy_of(ONE, tmp_path_factory.mktemp("store"))

    def change(row: dict[str, Any]) -> None:
        row[data.draw(st.sampled_from(sorted(row)))] = data.draw(_json)

    try:
        edit_row(folder, stem, 0, change)
    except (ValueError, msgspec.MsgspecError, OverflowError):
        return  # not JSON to begin with
    assert "\n" not in refusal_of(folder)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 6000), st.integers(0, 255))
def test_read_episode_with_any_byte_of_the_manifest_changed_reads_or_refuses(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    folder = copy_of(ONE, tmp_path_factory.mktemp("store"))
    data = bytearray((folder / "episode.json").read_bytes())
    data[at % len(data)] = byte
    (folder / "episode.json").write_bytes(data)
    assert "\n" not in refusal_of(folder)


def test_manifest_of_the_corpus_says_what_its_readme_says() -> None:
    manifest = json.loads((ONE / "episode.json").read_text())
    assert manifest["format"] == 1
    assert re.fullmatch(r"7\.2\.\d+", manifest["host"]["qemu"])
