"""Bundles that somebody changed, cut or blew up: each refused with its own message, and what runs is untouched."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.bundle import archive as archives
from contracts.errors import BoundError, PhasewatchError
from edge.deploy.deployment import read_deployment
from edge.deploy.site import Site
from tests.edge.sites import files, put, void


def repacked(bundle: Path, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """The archive with other members; whatever its maker did, the signature is the old one."""
    files = archives._unpack(bundle, bundle.read_bytes())
    change(files)
    return archives._pack(files)


def twice(bundle: Path) -> bytes:
    """Every member two times."""
    files, buffer = archives._unpack(bundle, bundle.read_bytes()), io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in [*sorted(files.items())] * 2:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def as_tar(bundle: Path, change: Callable[[tarfile.TarInfo], None]) -> bytes:
    """The same members through another program's tar, its last entry changed."""
    files, buffer = archives._unpack(bundle, bundle.read_bytes()), io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for i, (name, data) in enumerate(sorted(files.items())):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            if i == len(files) - 1:
                change(entry)
            archive.addfile(entry, io.BytesIO(data) if entry.isreg() else None)
    return buffer.getvalue()


ODD = r"member [\w.-]+ is a link, a folder or a device; expected exactly the archive that was packed"
HOSTILE: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "added": (lambda b: repacked(b, lambda f: f.update(extra=b"x")), "member extra is not listed in the manifest"),
    "removed": (lambda b: repacked(b, lambda f: void(f.pop("reference.json"))), "member reference.json is missing"),
    "renamed": (
        lambda b: repacked(b, lambda f: f.update(other=f.pop("reference.json"))),
        "member other is not listed in the manifest",
    ),
    "swapped": (
        lambda b: repacked(b, lambda f: f.update({"reference.json": f["scorecard.json"]})),
        r"reference\.json: sha256 \w+…; expected \w+…",
    ),
    "manifest changed": (
        lambda b: repacked(b, lambda f: f.update({"manifest.json": f["manifest.json"].replace(b"gbt", b"mlp")})),
        "the signature by test does not fit; expected the signed bytes",
    ),
    "signature gone": (
        lambda b: repacked(b, lambda f: void(f.pop("signature.json"))),
        "not signed; expected a signature",
    ),
    "duplicated": (twice, r"member [\w.-]+ is there twice"),
    "trailing bytes": (lambda b: b.read_bytes() + b"x" * 512, "bytes that its members do not account for"),
    "a link": (
        lambda b: as_tar(b, lambda e: setattr(e, "type", tarfile.SYMTYPE)),
        ODD,
    ),
    "a device": (
        lambda b: as_tar(b, lambda e: setattr(e, "type", tarfile.BLKTYPE)),
        ODD,
    ),
    "upwards": (lambda b: as_tar(b, lambda e: setattr(e, "name", "../x")), "not a tar of plain files"),
    "absolute": (lambda b: as_tar(b, lambda e: setattr(e, "name", "/etc/x")), "not a tar of plain files"),
    "a folder": (lambda b: as_tar(b, lambda e: setattr(e, "name", "a/b")), "not a tar of plain files"),
    "another owner": (lambda b: as_tar(b, lambda e: setattr(e, "uid", 7)), "bytes that its members do not account for"),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_bundle_that_somebody_changed_is_refused_and_what_runs_is_untouched(
    site: Site, bundles: list[Path], hostile: str
) -> None:
    before = put(site, bundles[0])
    make, message = HOSTILE[hostile]
    bundles[1].write_bytes(make(bundles[1]))
    with pytest.raises(PhasewatchError, match=message):
        put(site, bundles[1])
    assert read_deployment(site.folder) == before
    assert files(site) == before.files


def test_a_huge_bundle_is_refused_before_it_is_read(site: Site, bundles: list[Path]) -> None:
    before = put(site, bundles[0])
    with bundles[1].open("r+b") as file:
        file.truncate(archives.MAX_BUNDLE + 1)  # a hole: no byte of it is on the disk
    with pytest.raises(BoundError, match=r"67108865 bytes; expected at most 67108864"):
        put(site, bundles[1])
    assert read_deployment(site.folder) == before


def test_every_changed_byte_is_refused_and_what_runs_is_untouched(site: Site, bundles: list[Path]) -> None:
    """All of its manifest and headers, and every 23rd of the rest (tests/contracts flips every byte of a small one)."""
    before = put(site, bundles[0])
    data = bundles[1].read_bytes()
    head = data.index(b"manifest.json")
    tested = sorted({*range(0, len(data), 23), *range(head, min(head + 4096, len(data)))})
    for at in tested:
        bundles[1].write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
        with pytest.raises(PhasewatchError):
            put(site, bundles[1])
    assert len(tested) > 4000
    assert read_deployment(site.folder) == before
    assert files(site) == before.files


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_download_is_refused(site: Site, bundles: list[Path], share: float) -> None:
    before = put(site, bundles[0])
    data = bundles[1].read_bytes()
    bundles[1].write_bytes(data[: int(len(data) * share)])
    with pytest.raises(PhasewatchError, match="expected .*; build or download the bundle again"):
        put(site, bundles[1])
    assert read_deployment(site.folder) == before
    assert files(site) == before.files
