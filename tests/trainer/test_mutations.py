"""Real episodes, mutated: the sweep never falls, and whatever it lets pass, extraction can make windows of."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from contracts.features.schema import feature_schema
from contracts.files import sha256
from contracts.telemetry.zstd import compress
from edge.extract import Extractor
from tests.defects import _shorten
from tests.recordings import ONE, edit_manifest, expand
from trainer.extraction.one_shard import Input, extract_episode
from trainer.sweep.examine import examine

SCHEMA = feature_schema()
EXTRACTOR = Extractor(SCHEMA)
STEMS = ("proc", "qmp", "guest", "netflow", "labels")


@pytest.fixture(scope="module")
def short() -> Iterator[Path]:
    """Half a minute of a real episode."""
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "store" / ONE.parent.name / ONE.name
        shutil.copytree(ONE, folder)
        folder.chmod(0o755)
        for path in folder.iterdir():
            path.chmod(0o644)
        _shorten(30)(folder)
        yield folder


def holds(folder: Path) -> None:
    """What must be true of any episode, whatever was done to it."""
    finding = examine(folder)
    assert "failed" not in {reason.code for reason in finding.reasons}, finding.reasons
    event(finding.verdict)
    if finding.verdict not in ("accepted", "degraded"):
        assert finding.reasons
        return
    table = extract_episode(folder, EXTRACTOR, Input.of(finding))
    assert len(table.label) == len(table.tensor) == len(table.purity) <= finding.windows
    assert not np.isinf(table.tensor).any()
    assert not np.isinf(table.summary).any()
    assert ((table.purity >= 0) & (table.purity <= 1)).all()
    for i, channel in enumerate(SCHEMA.channels):
        if channel.source not in finding.usable_sources:
            assert np.isnan(table.tensor[:, i]).all()
        elif channel.kind == "rate":
            assert not (table.tensor[:, i] < 0).any()


@pytest.fixture(scope="module")
def copied(short: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("m") / "store" / short.parent.name
    store.mkdir(parents=True)
    return store / short.name


def renewed(short: Path, folder: Path) -> None:
    """A fresh copy for each example."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(short, folder)


def store_lines(folder: Path, stem: str, lines: list[bytes]) -> None:
    stored = compress(b"".join(line + b"\n" for line in lines))
    (folder / f"{stem}.jsonl.zst").write_bytes(stored)
    entry = {"sha256": sha256(stored), "bytes": len(stored), "rows": len(lines)}
    edit_manifest(folder, lambda manifest: manifest["files"].update({f"{stem}.jsonl.zst": entry}))


def lines_of(folder: Path, stem: str) -> list[bytes]:
    path = folder / f"{stem}.jsonl.zst"
    return expand(path.read_bytes(), path).splitlines()


values = st.one_of(
    st.sampled_from([0, -1, 1, 2**31, 2**62, 2**63 - 1, 2**63, 2**64, 10**30, 1.5, 1e308, -1e308, None, True, "", "x"]),
    st.integers(-(2**64), 2**64),
)


@settings(max_examples=400, deadline=None)
@given(stem=st.sampled_from(STEMS), data=st.data())
def test_sweep_and_extraction_hold_when_a_field_is_changed(
    short: Path, copied: Path, stem: str, data: st.DataObject
) -> None:
    renewed(short, copied)
    lines = lines_of(copied, stem)
    for _ in range(data.draw(st.integers(1, 5))):
        number = data.draw(st.integers(0, len(lines) - 1))
        row = msgspec.json.decode(lines[number])
        if not isinstance(row, dict) or not row:
            continue
        row[data.draw(st.sampled_from(sorted(row)))] = data.draw(values)
        lines[number] = msgspec.json.encode(row)
    store_lines(copied, stem, lines)
    holds(copied)


@settings(max_examples=300, deadline=None)
@given(stem=st.sampled_from(STEMS), data=st.data())
def test_sweep_and_extraction_hold_when_times_jump(short: Path, copied: Path, stem: str, data: st.DataObject) -> None:
    renewed(short, copied)
    rows: list[dict[str, Any]] = [msgspec.json.decode(line) for line in lines_of(copied, stem)]
    start = data.draw(st.integers(0, len(rows)))
    jump = data.draw(st.sampled_from([-(10**18), -3 * 10**9, -(10**6), 10**6, 3 * 10**9, 3600 * 10**9, 4 * 10**18]))
    names = data.draw(st.sets(st.sampled_from(sorted(name for name in rows[0] if name.endswith("_ns"))), min_size=1))
    for row in rows[start:]:
        for name in names:
            row[name] += jump
    store_lines(copied, stem, [msgspec.json.encode(row) for row in rows])
    holds(copied)


@settings(max_examples=300, deadline=None)
@given(stem=st.sampled_from(STEMS), data=st.data())
def test_sweep_and_extraction_hold_when_rows_are_lost_doubled_or_mixed(
    short: Path, copied: Path, stem: str, data: st.DataObject
) -> None:
    renewed(short, copied)
    lines = lines_of(copied, stem)
    a, b = sorted(data.draw(st.tuples(st.integers(0, len(lines)), st.integers(0, len(lines)))))
    some = lines[a:b]
    change = data.draw(st.sampled_from(["lose", "double", "reverse", "move to the end", "only"]))
    store_lines(
        copied,
        stem,
        {
            "lose": lines[:a] + lines[b:],
            "double": lines[:b] + some + lines[b:],
            "reverse": lines[:a] + some[::-1] + lines[b:],
            "move to the end": lines[:a] + lines[b:] + some,
            "only": some,
        }[change],
    )
    holds(copied)


@settings(max_examples=400, deadline=None)
@given(name=st.sampled_from([*(f"{stem}.jsonl.zst" for stem in STEMS), "episode.json"]), data=st.data())
def test_sweep_holds_when_bytes_are_flipped_lost_or_added(
    short: Path, copied: Path, name: str, data: st.DataObject
) -> None:
    """In the stored bytes, or in the text with the manifest agreeing."""
    renewed(short, copied)
    path = copied / name
    in_text = name != "episode.json" and data.draw(st.booleans())
    text = bytearray(expand(path.read_bytes(), path) if in_text else path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        kind = data.draw(st.sampled_from(["flip", "lose", "add"]))
        if kind == "flip":
            text[at] ^= data.draw(st.integers(1, 255))
        elif kind == "lose":
            del text[at : at + data.draw(st.integers(1, 2000))]
            text = text or bytearray(b"\n")
        else:
            text[at:at] = data.draw(st.binary(min_size=1, max_size=50))
    if in_text:
        stored = compress(bytes(text))
        path.write_bytes(stored)
        entry = {"sha256": sha256(stored), "bytes": len(stored), "rows": bytes(text).count(b"\n")}
        edit_manifest(copied, lambda manifest: manifest["files"].update({name: entry}))
    else:
        path.write_bytes(bytes(text))
    holds(copied)
