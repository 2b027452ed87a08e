"""Bundles: deterministic, signed, and refused for any reason not to trust them."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path

import msgspec
import pytest

from contracts.bundle import archive as bundles
from contracts.bundle.archive import Artifact, BundleManifest, read_bundle, write_bundle
from contracts.bundle.keys import TrustedKeys, generate_key, load_signing_key, load_trusted_keys
from contracts.errors import (
    BundleError,
    ConfigError,
    DigestError,
    MissingError,
    PhasewatchError,
    SchemaMismatchError,
    UnsignedError,
    UntrustedKeyError,
)
from contracts.features.schema import FeatureSchema
from contracts.vocabulary import PHASES

MEMBERS = {"model.tflite": b"weights", "scorecard.json": b"{}"}


@pytest.fixture
def manifest(schema: FeatureSchema) -> BundleManifest:
    return BundleManifest(
        format=1,
        name="cnn-realistic-0",
        build_id="0",
        architecture="cnn",
        threat_model="realistic",
        form="dynamic int8",
        schema_hash=schema.hash,
        phases=PHASES,
        channels=("proc.cpu_user",),
        view="tensor",
        artifacts=(Artifact(runtime="tflite", member="model.tflite"),),
        members={},
        temperature=1.0,
        abstain_below=0.0,
        tolerance=0.01,
        recipe="held_out_host",
        seed=0,
        corpus_digest="0" * 64,
        split_digest="0" * 64,
        versions={},
    )


@pytest.fixture
def trust(signing_key: Path) -> TrustedKeys:
    return load_trusted_keys(signing_key.parent)


@pytest.fixture
def path(tmp_path: Path, manifest: BundleManifest, signing_key: Path) -> Path:
    path = tmp_path / "x.bundle"
    write_bundle(path, manifest, MEMBERS, load_signing_key(signing_key))
    return path


def test_write_bundle_twice_gives_the_same_bytes(
    tmp_path: Path, path: Path, manifest: BundleManifest, signing_key: Path
) -> None:
    write_bundle(tmp_path / "y.bundle", manifest, MEMBERS, load_signing_key(signing_key))
    assert (tmp_path / "y.bundle").read_bytes() == path.read_bytes()


def test_read_bundle_gives_members_and_the_keys_name(path: Path, schema: FeatureSchema, trust: TrustedKeys) -> None:
    bundle = read_bundle(path, schema=schema, trust=trust)
    assert bundle.members == MEMBERS
    assert bundle.key == "test"


def test_read_bundle_refuses_every_changed_byte(path: Path, schema: FeatureSchema, trust: TrustedKeys) -> None:
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(PhasewatchError):
            read_bundle(path, schema=schema, trust=trust)


@pytest.mark.parametrize("member", MEMBERS)
def test_read_bundle_refuses_a_changed_member(
    path: Path, schema: FeatureSchema, trust: TrustedKeys, member: str
) -> None:
    files = bundles._unpack(path, path.read_bytes())
    files[member] += b"!"
    path.write_bytes(bundles._pack(files))
    with pytest.raises(DigestError, match=rf"x\.bundle:{member}: sha256 \w+…; expected \w+…; build or download"):
        read_bundle(path, schema=schema, trust=trust)


def test_read_bundle_refuses_a_changed_manifest(path: Path, schema: FeatureSchema, trust: TrustedKeys) -> None:
    files = bundles._unpack(path, path.read_bytes())
    files["manifest.json"] = files["manifest.json"].replace(b'"seed":0', b'"seed":1')
    path.write_bytes(bundles._pack(files))
    with pytest.raises(BundleError, match="the signature by test does not fit"):
        read_bundle(path, schema=schema, trust=trust)


def test_read_bundle_refuses_members_added_or_gone(path: Path, schema: FeatureSchema, trust: TrustedKeys) -> None:
    files = bundles._unpack(path, path.read_bytes())
    path.write_bytes(bundles._pack({**files, "extra": b""}))
    with pytest.raises(BundleError, match="member extra is not listed in the manifest"):
        read_bundle(path, schema=schema, trust=trust)
    del files["scorecard.json"]
    path.write_bytes(bundles._pack(files))
    with pytest.raises(BundleError, match="member scorecard.json is missing"):
        read_bundle(path, schema=schema, trust=trust)


def test_read_bundle_refuses_an_unsigned_one_unless_allowed(
    path: Path, manifest: BundleManifest, schema: FeatureSchema, trust: TrustedKeys
) -> None:
    write_bundle(path, manifest, MEMBERS, None)
    with pytest.raises(UnsignedError, match="not signed; expected a signature by a trusted key; .*--allow-unsigned"):
        read_bundle(path, schema=schema, trust=trust)
    assert read_bundle(path, schema=schema, trust=trust, allow_unsigned=True).key is None


def test_read_bundle_refuses_a_key_it_does_not_know(path: Path, schema: FeatureSchema, tmp_path: Path) -> None:
    generate_key(tmp_path / "other" / "other.key")
    with pytest.raises(UntrustedKeyError, match=r"signed by key \w{16}; expected a key of the trust folder"):
        read_bundle(path, schema=schema, trust=load_trusted_keys(tmp_path / "other"))
    with pytest.raises(UntrustedKeyError):
        read_bundle(path, schema=schema, trust=None)


def test_read_bundle_refuses_another_schema(
    path: Path, manifest: BundleManifest, schema: FeatureSchema, trust: TrustedKeys, signing_key: Path
) -> None:
    other = msgspec.structs.replace(manifest, schema_hash="ab" * 32)
    write_bundle(path, other, MEMBERS, load_signing_key(signing_key))
    with pytest.raises(
        SchemaMismatchError, match=r"bundle cnn-realistic-0: feature schema abababababab…; expected .* rebuild it"
    ):
        read_bundle(path, schema=schema, trust=trust)


@pytest.mark.parametrize("spoil", ["not a tar", "cut", "a link", "a path", "nothing", "no manifest", "twice"])
def test_read_bundle_refuses_what_is_no_bundle(
    path: Path, schema: FeatureSchema, trust: TrustedKeys, spoil: str
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo("../x" if spoil == "a path" else "x")
        if spoil == "a link":
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        if spoil != "no manifest":
            archive.addfile(entry)
        if spoil == "twice":
            archive.addfile(entry)
    data = {"not a tar": b"hello" * 300, "cut": path.read_bytes()[:700], "nothing": b""}.get(spoil, buffer.getvalue())
    path.write_bytes(data)
    with pytest.raises(BundleError, match=re.escape(str(path))):
        read_bundle(path, schema=schema, trust=trust)


def header(name: bytes, size: int, kind: bytes, tail: bytes = b"") -> bytes:
    """A tar header as some other program might write it."""
    block = bytearray(name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"0" * 11 + b"\0")
    block += b" " * 8 + kind + tail.ljust(355, b"\0")
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "data",
    [
        # a sparse member (GNU) that claims a terabyte, and long chains of extension headers
        header(b"x", 0, b"S", b"\0" * 326 + b"%011o\0" % (1 << 33)) + b"\0" * 1024,
        header(b"././@LongLink", 1, b"L") * 6000,
        (header(b"pax", 20, b"x") + b"20 GNU.sparse.size=9".ljust(512, b"\0")) * 3000,
        header(b"x", 1 << 32, b"0"),
        header(b"/etc/x", 0, b"0") + b"\0" * 1024,
        header(b"../x", 0, b"0") + b"\0" * 1024,
    ],
    ids=["sparse", "long links", "pax", "past the end", "absolute", "upwards"],
)
def test_read_bundle_refuses_hostile_archives_without_following_them(
    path: Path, schema: FeatureSchema, trust: TrustedKeys, data: bytes
) -> None:
    path.write_bytes(data)
    with pytest.raises(BundleError, match="expected exactly the archive that was packed"):
        read_bundle(path, schema=schema, trust=trust)


def test_read_bundle_refuses_an_artifact_that_is_not_there(
    path: Path, manifest: BundleManifest, schema: FeatureSchema, trust: TrustedKeys, signing_key: Path
) -> None:
    write_bundle(path, manifest, {"other": b""}, load_signing_key(signing_key))
    with pytest.raises(BundleError, match="no member model.tflite for tflite; expected every artifact"):
        read_bundle(path, schema=schema, trust=trust)


def test_generate_key_refuses_the_name_of_a_public_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"my\.pub: the name of a public key; .* say my\.key"):
        generate_key(tmp_path / "my.pub")


def test_read_bundle_refuses_a_file_that_is_not_there(schema: FeatureSchema, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such file"):
        read_bundle(tmp_path / "x", schema=schema, trust=None)


def test_generate_key_keeps_the_private_half_private_and_old_keys(signing_key: Path) -> None:
    assert signing_key.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match=r"test\.key: exists; expected a new file"):
        generate_key(signing_key)


def test_load_signing_key_refuses_one_that_others_can_read(tmp_path: Path) -> None:
    generate_key(tmp_path / "a.key")
    (tmp_path / "a.key").chmod(0o644)
    with pytest.raises(ConfigError, match="readable by others; expected mode 0600"):
        load_signing_key(tmp_path / "a.key")


def test_keys_that_are_no_keys_are_refused(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pub"
    bad.write_text("hello")
    bad.chmod(0o600)
    with pytest.raises(ConfigError, match="not an Ed25519 private key"):
        load_signing_key(bad)
    with pytest.raises(ConfigError, match="not an Ed25519 public key"):
        load_trusted_keys(tmp_path)
    with pytest.raises(MissingError, match="no such folder; expected a folder of public keys"):
        load_trusted_keys(tmp_path / "absent")
