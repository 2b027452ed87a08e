"""Coverage-guided fuzzing (atheris) of the readers of rows, manifests, bundles, flow export datagrams and events.

    python -m tests.fuzz.readers tests/fuzz/seeds -max_total_time=60

The first byte chooses the reader, the rest is what it reads. Whatever it is, a reader gives rows, a manifest or a
bundle, or raises one of our errors on one line, and those of datagrams and events raise nothing; anything else is a
crash, and the input is kept by the fuzzer.
`python -m tests.fuzz.readers --seeds tests/fuzz/seeds` makes the seeds anew from a real recording.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["contracts", "edge.collectors.export", "edge.audit"]):
    from contracts.bundle.archive import read_bundle
    from contracts.errors import PhasewatchError
    from contracts.events.envelope import ALL_KINDS
    from contracts.telemetry.episode import read_manifest
    from contracts.telemetry.lines import row_batches
    from contracts.telemetry.zstd import compress
    from edge.audit.streams import Auditor
    from edge.collectors.export.decode import Decoder

STEMS = ("proc", "qmp", "guest", "netflow", "labels")
MANIFEST = 2 * len(STEMS)
BUNDLE = MANIFEST + 1
DATAGRAMS = BUNDLE + 1
EVENTS = DATAGRAMS + 1
"""First bytes: 0-4 plain rows of a source, 5-9 compressed ones, 10 a manifest, 11 a bundle, 12 datagrams, 13 events."""


def one_input(data: bytes) -> None:
    """Feed one reader."""
    if not data:
        return
    kind, body = data[0] % (EVENTS + 1), data[1:]
    refusal = ""
    try:
        if kind == MANIFEST:
            _manifest(body)
        elif kind == BUNDLE:
            _bundle(body)
        elif kind == DATAGRAMS:
            _datagrams(body)
        elif kind == EVENTS:
            _events(body)
        else:
            stem = STEMS[kind % len(STEMS)]
            name = f"{stem}.jsonl" + (".zst" if kind >= len(STEMS) else "")
            for batch in row_batches(body, stem, Path(name)):
                for row in batch:
                    assert 0 <= row.t_wall_ns <= 2**62
    except PhasewatchError as error:
        refusal = str(error)
    assert "\n" not in refusal


def _manifest(body: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "episode.json").write_bytes(body)
        manifest = read_manifest(Path(folder))
    for name in manifest.files:
        assert (Path(folder) / name).parent == Path(folder)
    assert manifest.ended_wall_ns > manifest.started_wall_ns


def _bundle(body: bytes) -> None:
    """One that is read is whole: packed again, it is the same bytes, and no member could leave its folder."""
    bundle = read_bundle(Path("fuzzed.bundle"), schema=None, trust=None, allow_unsigned=True, data=body)
    assert bundle.key is None
    assert all(Path(name).name == name for name in bundle.members)
    assert bundle.members.keys() == bundle.manifest.members.keys()


def _datagrams(body: bytes) -> None:
    """Several, each after its length in two bytes: templates come before what they describe."""
    decoder, at = Decoder(), 0
    while at < len(body):
        end = at + 2 + int.from_bytes(body[at : at + 2], "big")
        for row in decoder.rows(body[at + 2 : end], "192.0.2.1:1", 1_700_000_000_000_000_000, 1):
            assert 0 <= row.start_wall_ns <= 2**62 >= row.end_wall_ns >= 0
            assert max(row.sport, row.dport) <= 0xFFFF
            assert max(row.packets, row.bytes) < 2**63
        at = end
    assert min(vars(decoder.counts).values()) >= 0


def _events(body: bytes) -> None:
    """Several, each after its length in two bytes; the audit hears them, and counts what it hears."""
    auditor, at, heard = Auditor(), 0, 0
    while at < len(body):
        end = at + 2 + int.from_bytes(body[at : at + 2], "big")
        payload = body[at + 2 : end]
        kind = ALL_KINDS[payload[-1] % len(ALL_KINDS)] if payload[-1:].isdigit() else ALL_KINDS[-1]
        findings = list(auditor.hear(f"phasewatch/n/g/{kind.name}", payload, retained=False))
        heard += bool(payload) - any(one.what == "violation" for one in findings)
        assert not any("\n" in str(one) for one in findings)
        at = end
    report = auditor.report()
    assert report.events == heard
    assert report.missing >= 0 <= report.told


def _write_events(folder: Path) -> None:
    """Real ones, on topics of their own and not."""
    examples = Path(__file__).parents[2] / "docs" / "events" / "examples"
    for path in sorted(examples.glob("*.json")):
        event = path.read_bytes().replace(b"/phasewatch/demo/lab-q35-2-g1", b"/phasewatch/n/g")
        later = event.replace(b'"sequence": "00000000000000', b'"sequence": "00000000000001')
        whole = b"".join(len(one).to_bytes(2, "big") + one for one in (event, event, later))
        (folder / f"events-{path.stem}").write_bytes(bytes([EVENTS]) + whole)


def _write_datagrams(folder: Path) -> None:
    """What each real exporter sent first."""
    import json

    for file in ("softflowd", "pmacctd-fprobe"):
        sent: dict[int, bytes] = {}
        for line in (Path(__file__).parents[1] / "netflow" / f"{file}.jsonl").read_text().splitlines():
            one = json.loads(line)
            data = bytes.fromhex(one["data"])
            whole = sent.get(one["port"], b"") + len(data).to_bytes(2, "big") + data
            if len(whole) < 4000:
                sent[one["port"]] = whole
        for port, data in sent.items():
            (folder / f"datagrams-{port}").write_bytes(bytes([DATAGRAMS]) + data)


def write_seeds(folder: Path) -> None:
    """Three real rows of each source, plain and compressed, a manifest, and what has hurt before."""
    from tests.recordings import ONE, expand

    folder.mkdir(parents=True, exist_ok=True)
    for number, stem in enumerate(STEMS):
        path = ONE / f"{stem}.jsonl.zst"
        rows = b"".join(expand(path.read_bytes(), path).splitlines(keepends=True)[:3])
        (folder / f"{stem}-plain").write_bytes(bytes([number]) + rows)
        (folder / f"{stem}-zstd").write_bytes(bytes([number + len(STEMS)]) + compress(rows))
    manifest = bytes([MANIFEST])
    (folder / "manifest").write_bytes(manifest + (ONE / "episode.json").read_bytes())
    hurt = {
        "nan": b'{"t_wall_ns":NaN}\n',
        "large": b'{"t_wall_ns":1e308}\n',
        "digits": b'{"t_wall_ns":' + b"9" * 400 + b"}\n",
        "nested": b"[" * 3000,
        "no-utf-8": b'{"state":"\xff\xfe"}\n',
        "surrogate": b'{"state":"\\ud800"}\n',
        "blank": b"\n\n  \n",
        "long": b" " * 70_000,
        "two-frames": b"",
    }
    for name, text in hurt.items():
        (folder / f"rows-{name}").write_bytes(bytes([0]) + text)
    (folder / "zstd-two-frames").write_bytes(bytes([5]) + compress(b"\n") * 2)
    (folder / "zstd-bomb").write_bytes(bytes([5]) + compress(b"\n" * (3 << 20)))
    (folder / "zstd-torn").write_bytes(bytes([5]) + compress(b"hello world, this is no row")[:-4])
    frames = {"window": "28b52ffd00a8", "dictionary": "28b52ffd210700", "skippable": "5e2a4d1802000000ffff"}
    for name, start in frames.items():
        (folder / f"zstd-{name}").write_bytes(bytes([5]) + bytes.fromhex(start) + compress(b"\n"))
    (folder / "manifest-nested").write_bytes(manifest + b'{"host":' + b"[" * 3000)
    _write_bundles(folder)
    _write_datagrams(folder)
    _write_events(folder)
    (folder / "manifest-outside").write_bytes(manifest + b'{"files":{"../x.jsonl":{}}}')


def _write_bundles(folder: Path) -> None:
    """A small bundle, and what others would make of it."""
    import io
    import tarfile

    import msgspec

    from contracts.bundle.archive import Artifact, BundleManifest, write_bundle
    from contracts.vocabulary import PHASES

    manifest = BundleManifest(
        format=1, name="cnn-realistic-0", build_id="0", architecture="cnn", threat_model="realistic", form="float32",
        schema_hash="0" * 64, phases=PHASES, channels=("proc.cpu_user",), view="tensor",
        artifacts=(Artifact(runtime="tflite", member="model.tflite"),), members={}, temperature=1.0, abstain_below=0.0,
        tolerance=0.01, recipe="held_out_host", seed=0, corpus_digest="0" * 64, split_digest="0" * 64, versions={},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "x.bundle"
        write_bundle(path, manifest, {"model.tflite": b"weights"}, None)
        whole = path.read_bytes()
        signature = {"algorithm": "Ed25519", "key": "0" * 16, "signature": "0" * 128}
        members = {"model.tflite": b"weights", "signature.json": msgspec.json.encode(signature)}
        write_bundle(path, manifest, members, None)
        signed = path.read_bytes()
    links = io.BytesIO()
    with tarfile.open(fileobj=links, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for member, kind in (("manifest.json", tarfile.SYMTYPE), ("../outside", tarfile.REGTYPE)):
            entry = tarfile.TarInfo(member)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    seeds = {"whole": whole, "signed": signed, "torn": whole[:900], "links": links.getvalue(), "twice": whole * 2}
    for name, data in seeds.items():
        (folder / f"bundle-{name}").write_bytes(bytes([BUNDLE]) + data)


def main() -> None:
    """Fuzz, or make the seeds."""
    if sys.argv[1:2] == ["--seeds"]:
        write_seeds(Path(sys.argv[2]))
        return
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
