"""Every defect that the sweep knows, as a way to spoil a copy of a real episode, and what the sweep must say of it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from contracts.files import sha256
from contracts.telemetry.zstd import compress
from tests.recordings import edit_lines, edit_manifest, edit_row, expand

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Row = dict[str, Any]
SECOND = 1_000_000_000


@dataclass(frozen=True)
class Defect:
    """How to plant it in an episode's folder, the verdict, and exactly the codes that the sweep must give."""

    plant: Callable[[Path], None]
    verdict: str
    codes: frozenset[str]


def _rows(folder: Path, stem: str, change: Callable[[list[Row]], list[Row]]) -> None:
    """Change a file's rows, decoded."""

    def edit(lines: list[bytes]) -> list[bytes]:
        return [msgspec.json.encode(row) for row in change([msgspec.json.decode(line) for line in lines])]

    edit_lines(folder, stem, edit)


def _stored(folder: Path, name: str, data: bytes, rows: int) -> None:
    """Replace a file's stored bytes, and make the manifest agree."""
    (folder / name).write_bytes(data)
    entry = {"sha256": sha256(data), "bytes": len(data), "rows": rows}
    edit_manifest(folder, lambda manifest: manifest["files"].update({name: entry}))


def _link(folder: Path, name: str) -> None:
    """A link to the same bytes, outside the folder."""
    elsewhere = folder.parent.parent / f".{folder.name}-{name}"
    shutil.move(folder / name, elsewhere)
    (folder / name).symlink_to(elsewhere)


def _torn(folder: Path) -> None:
    data = (folder / "guest.jsonl.zst").read_bytes()
    rows = json.loads((folder / "episode.json").read_text())["files"]["guest.jsonl.zst"]["rows"]
    _stored(folder, "guest.jsonl.zst", data[: len(data) // 2], rows)


def _digest(folder: Path) -> None:
    data = bytearray((folder / "proc.jsonl.zst").read_bytes())
    data[100] ^= 1
    (folder / "proc.jsonl.zst").write_bytes(data)


def _files(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Change the manifest's list of files."""

    def edit(manifest: dict[str, Any]) -> None:
        change(manifest["files"])

    return lambda folder: edit_manifest(folder, edit)


def _folder(folder: Path) -> None:
    (folder / "qmp.jsonl.zst").unlink()
    (folder / "qmp.jsonl.zst").mkdir()


def _no_json(folder: Path) -> None:
    (folder / "episode.json").write_text("{")


def _outside_name(folder: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest["files"]["../../secret.jsonl"] = next(iter(manifest["files"].values()))

    edit_manifest(folder, change)


def _file_twice(folder: Path) -> None:
    """With two digests: most readers would take the last one, in silence."""
    path = folder / "episode.json"
    entry = json.dumps({"qmp.jsonl.zst": {"sha256": "0" * 64, "bytes": 1, "rows": 1}})
    path.write_text(path.read_text().replace('"files": {', f'"files": {entry[:-1]},', 1))


def _text(folder: Path, old: bytes, new: bytes, stem: str = "qmp") -> None:
    """Replace text in the seventh line of a file."""

    def edit(lines: list[bytes]) -> list[bytes]:
        assert old in lines[6]
        return [*lines[:6], lines[6].replace(old, new), *lines[7:]]

    edit_lines(folder, stem, edit)


def _long_line(folder: Path) -> None:
    _stored(folder, "netflow.jsonl.zst", compress(b'{"src":"' + b"a" * (40 << 20) + b'"}\n'), 1)


def _bomb(folder: Path) -> None:
    _stored(folder, "qmp.jsonl.zst", compress(b"\n" * (300 << 20)), 1)


def _framed(folder: Path, **options: Any) -> None:
    """The same rows as zstd of another kind."""
    compressor = zstd.ZstdCompressor(**options)
    path = folder / "qmp.jsonl.zst"
    rows = expand(path.read_bytes(), path)
    _stored(folder, path.name, compressor.compress(rows) + compressor.flush(), rows.count(b"\n"))


def _dictionary(folder: Path) -> None:
    path = folder / "qmp.jsonl.zst"
    _framed(folder, zstd_dict=zstd.train_dict(expand(path.read_bytes(), path).splitlines(), 4000))


def _every(stem: str, keep: Callable[[int], bool]) -> Callable[[Path], None]:
    """Keep some rows, by number."""
    return lambda folder: edit_lines(folder, stem, lambda lines: [x for i, x in enumerate(lines) if keep(i)])


def _starve(folder: Path) -> None:
    for stem in ("proc", "qmp", "guest"):
        edit_lines(folder, stem, lambda lines: lines[: len(lines) // 10])


def _mono_back(folder: Path) -> None:
    edit_row(folder, "proc", 500, lambda row: row.update(t_mono_ns=row["t_mono_ns"] - 3 * SECOND))


def _wall_set(folder: Path) -> None:
    def change(rows: list[Row]) -> list[Row]:
        return [{**r, "t_wall_ns": r["t_wall_ns"] + (i >= 100) * SECOND // 2} for i, r in enumerate(rows)]

    _rows(folder, "qmp", change)


def _set_back(folder: Path) -> None:
    """The host's clock, by 30 s, a second before the third label."""
    path = folder / "labels.jsonl.zst"
    moment = msgspec.json.decode(expand(path.read_bytes(), path).splitlines()[2])["t_wall_ns"] - SECOND

    def change(rows: list[Row]) -> list[Row]:
        names = [name for name in rows[0] if name.endswith("_wall_ns") and name != "g_wall_ns"]
        return [{**r, **{n: r[n] - (r["t_wall_ns"] >= moment) * 30 * SECOND for n in names}} for r in rows]

    for stem in ("proc", "qmp", "guest", "netflow", "labels"):
        _rows(folder, stem, change)
    edit_manifest(folder, lambda manifest: manifest.update(ended_wall_ns=manifest["ended_wall_ns"] - 30 * SECOND))


def _stray(folder: Path) -> None:
    def change(rows: list[Row]) -> list[Row]:
        return [{**r, "t_wall_ns": r["t_wall_ns"] - (i < 5) * 3600 * SECOND} for i, r in enumerate(rows)]

    _rows(folder, "qmp", change)


def _flow_clock(folder: Path) -> None:
    """Times by the exporter's uptime: the mistake that once lost every netflow channel."""
    names = ("t_wall_ns", "start_wall_ns", "end_wall_ns", "recv_wall_ns")

    def change(rows: list[Row]) -> list[Row]:
        return [{**r, **{n: max(0, r[n] - r["t_wall_ns"] + r["t_mono_ns"]) for n in names}} for r in rows]

    _rows(folder, "netflow", change)


def _from_nowhere(folder: Path) -> None:
    """The smallest record: without a large one the exporter would seem to have been away."""

    def change(rows: list[Row]) -> list[Row]:
        smallest = min(rows, key=lambda row: row["packets"])
        return [{**row, "src": "localhost"} if row is smallest else row for row in rows]

    _rows(folder, "netflow", change)


def _doubled(folder: Path) -> None:
    edit_lines(folder, "netflow", lambda lines: [line for line in lines for _ in range(2)])


def _uptime_starts(folder: Path) -> None:
    """Only the start by the exporter's uptime: the flow seems to last for decades."""
    _rows(folder, "netflow", lambda rows: [{**r, "start_wall_ns": r["t_mono_ns"]} for r in rows])


def _one_long_flow(folder: Path) -> None:
    """One record by an exporter whose uptime, 32 bits of ms, had wrapped."""

    def change(row: Row) -> None:
        row["start_wall_ns"] -= 2**32 * 1_000_000

    edit_row(folder, "netflow", 7, change)


def _fast(folder: Path) -> None:
    """A clock that runs a fiftieth too fast: no two neighbours are far enough apart to tell."""

    def change(rows: list[Row]) -> list[Row]:
        return [{**r, "t_mono_ns": r["t_mono_ns"] + (r["t_mono_ns"] - rows[0]["t_mono_ns"]) // 50} for r in rows]

    _rows(folder, "proc", change)


def _many_labels(folder: Path) -> None:
    def change(rows: list[Row]) -> list[Row]:
        return [{**rows[0], "t_wall_ns": rows[0]["t_wall_ns"] + i} for i in range(1001)]

    _rows(folder, "labels", change)


def _shorten(seconds: int) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        def change(manifest: dict[str, Any]) -> None:
            manifest["ended_wall_ns"] = manifest["started_wall_ns"] + seconds * SECOND

        edit_manifest(folder, change)
        end = json.loads((folder / "episode.json").read_text())["ended_wall_ns"]
        for stem in ("proc", "qmp", "guest", "netflow", "labels"):
            _rows(folder, stem, lambda rows: [row for row in rows if row["t_wall_ns"] < end])

    return plant


def _late(folder: Path) -> None:
    edit_lines(folder, "labels", lambda lines: lines[1:])


def _label(change: Callable[[Row], None]) -> Callable[[Path], None]:
    return lambda folder: edit_row(folder, "labels", 2, change)


def _is(verdict: str, plant: Callable[[Path], None], *codes: str) -> Defect:
    return Defect(plant, verdict, frozenset(codes))


def _cut_off(folder: Path) -> None:
    (folder / "episode.json").rename(folder / "recording.json")


DEFECTS: dict[str, Defect] = {
    "cut off": _is("errored", _cut_off, "unfinished"),
    "no manifest": _is("errored", lambda f: (f / "episode.json").unlink(), "manifest-missing"),
    "manifest a link": _is("errored", lambda f: _link(f, "episode.json"), "manifest-unreadable"),
    "file a link": _is("errored", lambda f: _link(f, "proc.jsonl.zst"), "file-unreadable"),
    "file a folder": _is("errored", _folder, "file-unreadable"),
    "torn zstd": _is("errored", _torn, "file-torn"),
    "no zstd": _is("errored", lambda f: _stored(f, "qmp.jsonl.zst", b"hello", 1), "file-torn"),
    "zstd with a dictionary": _is("errored", _dictionary, "file-torn"),
    "manifest no JSON": _is("rejected", _no_json, "manifest-invalid"),
    "file name outside": _is("rejected", _outside_name, "manifest-invalid"),
    "negative start": _is(
        "rejected", lambda f: edit_manifest(f, lambda m: m.update(started_wall_ns=-1)), "manifest-invalid"
    ),
    "end before start": _is(
        "rejected", lambda f: edit_manifest(f, lambda m: m.update(ended_wall_ns=1)), "clock-wrong"
    ),
    "start in 1970": _is(
        "rejected", lambda f: edit_manifest(f, lambda m: m.update(started_wall_ns=5 * SECOND)), "clock-wrong"
    ),
    "an episode of decades": _is(
        "rejected", lambda f: edit_manifest(f, lambda m: m.update(ended_wall_ns=m["started_wall_ns"] * 2)),
        "manifest-invalid",
    ),
    "wrong folder": _is("rejected", lambda f: edit_manifest(f, lambda m: m.update(host_id="elsewhere")), "misplaced"),
    "file gone": _is("rejected", lambda f: (f / "qmp.jsonl.zst").unlink(), "file-missing"),
    "flipped bit": _is("rejected", _digest, "digest-mismatch"),
    "NaN": _is("rejected", lambda f: _text(f, b'"poll_ns":', b'"poll_ns":NaN,"x":'), "row-invalid"),
    "1e308": _is("rejected", lambda f: _text(f, b'"poll_ns":', b'"poll_ns":1e308,"x":'), "row-invalid"),
    "negative": _is("rejected", lambda f: _text(f, b'"poll_ns":', b'"poll_ns":-'), "row-invalid"),
    "no UTF-8": _is("rejected", lambda f: _text(f, b'"status":"', b'"status":"\xff'), "row-invalid"),
    "half a row": _is("rejected", lambda f: _text(f, b"}", b""), "row-invalid"),
    "deep nesting": _is("rejected", lambda f: _text(f, b'"poll_ns":', b'"x":' + b"[" * 5000 + b',"p":'), "row-invalid"),
    "field twice": _is("rejected", lambda f: _text(f, b"{", b'{"poll_ns":7,'), "row-invalid"),
    "two rows on a line": _is(
        "rejected", lambda f: edit_lines(f, "qmp", lambda lines: [*lines[:6], lines[6] + lines[7], b"", *lines[8:]]),
        "row-invalid",
    ),
    "two files of one source": _is(
        "rejected", _files(lambda files: files.update({"qmp.jsonl": files["qmp.jsonl.zst"]})), "manifest-invalid"
    ),
    "file twice in the manifest": _is("rejected", _file_twice, "manifest-invalid"),
    "row count": _is(
        "rejected", _files(lambda files: files["proc.jsonl.zst"].update(rows=files["proc.jsonl.zst"]["rows"] + 1)),
        "row-count",
    ),
    "bomb": _is("rejected", _bomb, "bound"),
    "frames without rows": _is("rejected", lambda f: _stored(f, "qmp.jsonl.zst", compress(b"") * 1000, 1), "bound"),
    "a long window": _is("rejected", lambda f: _framed(f, options={zstd.CompressionParameter.window_log: 31}), "bound"),
    "endless line": _is("rejected", _long_line, "bound"),
    "a billion rows": _is("rejected", _files(lambda files: files["qmp.jsonl.zst"].update(rows=10**9)), "bound"),
    "sizes past all bounds": _is(
        "rejected", _files(lambda files: files["qmp.jsonl.zst"].update(bytes=2**63 - 1)), "manifest-invalid"
    ),
    "labels without end": _is("rejected", _many_labels, "bound"),
    "labels' clock back": _is("rejected", _label(lambda row: row.update(t_mono_ns=1)), "clock-backwards"),
    "no labels": _is("rejected", _files(lambda files: files.pop("labels.jsonl.zst")), "labels-missing"),
    "label outside": _is("rejected", _label(lambda row: row.update(t_wall_ns=1, t_mono_ns=1)), "labels-invalid"),
    "clock set back": _is("rejected", _set_back, "clock-wrong", "clock-step"),
    "labels not in order": _is("rejected", lambda f: edit_lines(f, "labels", lambda x: [x[0], x[2], x[1]]),
                               "labels-invalid"),
    "unknown phase": _is("rejected", _label(lambda row: row.update(phase="asleep")), "phase-unknown"),
    "monotonic clock back": _is("rejected", _mono_back, "clock-backwards"),
    "nothing observed": _is("rejected", _starve, "nothing-observed", "rows-few", "coverage-low", "gap"),
    "too short": _is("rejected", _shorten(9), "too-short"),
    "no netflow": _is("degraded", _files(lambda files: files.pop("netflow.jsonl.zst")), "source-missing"),
    "empty guest": _is("degraded", lambda f: edit_lines(f, "guest", lambda lines: lines[:0]), "source-empty"),
    "few rows": _is("degraded", _every("guest", lambda i: i % 5 != 0), "rows-few"),
    "low coverage": _is(
        "degraded", _every("guest", lambda i: not 200 <= i < 600), "rows-few", "coverage-low", "gap"
    ),
    "gap": _is("degraded", _every("proc", lambda i: not 400 <= i < 415), "gap"),
    "wall clock set": _is("degraded", _wall_set, "clock-step"),
    "stray rows": _is("degraded", _stray, "rows-outside", "clock-step", "gap"),
    "flow clock": _is("degraded", _flow_clock, "netflow-clock"),
    "exporter away": _is("degraded", _every("netflow", lambda i: i % 8 == 0), "netflow-silent"),
    "doubled flows": _is("degraded", _doubled, "netflow-doubled"),
    "one flow of 49 days": _is("degraded", _one_long_flow, "impossible"),
    "a flow from nowhere": _is("degraded", _from_nowhere, "impossible"),
    "flow starts by uptime": _is("degraded", _uptime_starts, "netflow-clock"),
    "addresses of another guest": _is(
        "degraded", lambda f: edit_manifest(f, lambda m: m.update(guest_addresses=["192.0.2.1"])), "netflow-silent"
    ),
    "fast clock": _is("degraded", _fast, "clock-drift"),
    "late labels": _is("degraded", _late, "labels-late"),
}  # fmt: skip
"""`duplicate-copy`, `duplicate-id` and `duplicate-rows` take two episodes, `worker-lost` and `failed` a machine in
trouble: they have tests of their own."""
