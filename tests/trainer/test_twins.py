"""The same recording under two ids is found by its rows, however it is stored; other recordings are not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.errors import DatasetError
from contracts.features.schema import SECOND, FeatureSchema
from contracts.files import sha256
from contracts.telemetry.episode import find_episodes
from contracts.telemetry.zstd import compress
from tests.recordings import ONE, ORDERED, copy_of, edit_lines, edit_manifest, expand, other_run, rename
from tests.sweeping import run
from tests.trainer.conftest import extracted
from trainer.split import make_split
from trainer.split.held_out_host import HeldOutHost
from trainer.sweep.catalogue import read_index
from trainer.sweep.finding import Finding

TWIN = "zz-elsewhere/another-name"


def twin(store: Path) -> Path:
    """A copy of `ONE` on another host, under another id, in the store where `ONE` is."""
    copy_of(ONE, store)
    folder = store / TWIN
    shutil.copytree(ONE, folder)
    rename(folder, host_id=folder.parent.name, episode_id=folder.name)
    return folder


def found(store: Path) -> dict[str, Finding]:
    run(store)
    return {finding.path: finding for finding in read_index(store / "index.parquet")}


def unchanged(folder: Path) -> None:
    """Its ids are others, and nothing else."""


def restored(folder: Path, level: int | None) -> None:
    """Compressed otherwise, or not at all."""
    for path in sorted(folder.glob("*.zst")):
        rows = expand(path.read_bytes(), path)
        path.unlink()
        stored, name = (rows, path.stem) if level is None else (compress(rows, level), path.name)
        (folder / name).write_bytes(stored)

        def agree(manifest: dict[str, Any], old: str = path.name, new: str = name, stored: bytes = stored) -> None:
            entry = manifest["files"].pop(old)
            manifest["files"][new] = {**entry, "sha256": sha256(stored), "bytes": len(stored)}

        edit_manifest(folder, agree)


def thinned(folder: Path) -> None:
    """A third of the rows of each source are left out."""
    for stem in ("proc", "qmp", "guest", "netflow"):
        edit_lines(folder, stem, lambda lines: [line for i, line in enumerate(lines) if i % 3])


def moved(folder: Path) -> None:
    """A month later, by every clock."""
    by = 30 * 86_400 * SECOND
    for stem in ("proc", "qmp", "guest", "netflow", "labels"):

        def later(lines: list[bytes]) -> list[bytes]:
            rows = [msgspec.json.decode(line) for line in lines]
            for row in rows:
                row.update({key: value + by for key, value in row.items() if key.endswith(("_wall_ns", "t_mono_ns"))})
            return [msgspec.json.encode(row) for row in rows]

        edit_lines(folder, stem, later)
    edit_manifest(folder, lambda m: m.update({key: m[key] + by for key in ("started_wall_ns", "ended_wall_ns")}))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (unchanged, "its rows are those of"),
        (lambda folder: restored(folder, 3), "its rows are those of"),
        (lambda folder: restored(folder, None), "its rows are those of"),
        (thinned, "most rows are those of"),
        (moved, "most rows are those of"),
    ],
    ids=["renamed", "recompressed", "uncompressed", "rows left out", "moved in time"],
)
def test_sweep_keeps_one_of_a_recording_that_is_there_under_two_ids(
    tmp_path: Path, change: Callable[[Path], None], why: str
) -> None:
    change(twin(tmp_path))
    findings = found(tmp_path)
    original = findings[f"{ONE.parent.name}/{ONE.name}"]
    (kept,) = (one for one in findings.values() if one.verdict == "accepted")
    (gone,) = (one for one in findings.values() if one.verdict == "rejected")
    reason = gone.reasons[-1]
    assert reason.code == "duplicate-rows"
    assert reason.detail == f"{why} {kept.path}"
    assert original in (kept, gone)


def test_sweep_keeps_one_of_two_recordings_of_one_guest_at_one_time(tmp_path: Path) -> None:
    """No row is shared: another recorder took every second one."""
    folder = twin(tmp_path)
    for stem in ("proc", "qmp", "guest"):
        edit_lines(folder, stem, lambda lines: lines[1::2])
        edit_lines(tmp_path / ONE.parent.name / ONE.name, stem, lambda lines: lines[::2])
    findings = found(tmp_path)
    codes = {path: [reason.code for reason in finding.reasons] for path, finding in findings.items()}
    assert sum("duplicate-rows" in some for some in codes.values()) == 1, codes
    (detail,) = (r.detail for f in findings.values() for r in f.reasons if r.code == "duplicate-rows")
    assert detail.startswith("it shows the same run of a guest, at the same time, as ")


def test_sweep_takes_two_runs_of_one_guest_for_two(tmp_path: Path) -> None:
    other_run(twin(tmp_path), 1)
    assert {finding.verdict for finding in found(tmp_path).values()} == {"accepted"}


def test_split_never_sees_a_twin(tmp_path: Path, schema: FeatureSchema) -> None:
    """With the copy held out, scores were perfect, and meant nothing."""
    store = tmp_path / "store"
    for episode in find_episodes(ORDERED):
        if episode != ONE:
            copy_of(episode, store)
    twin(store)
    dataset = extracted(store, tmp_path / "d", schema)
    assert TWIN.partition("/")[0] not in set(dataset.load_ids().host_id)
    with pytest.raises(DatasetError, match="no host zz-elsewhere among"):
        make_split(dataset, HeldOutHost(), "zz-elsewhere")
