"""A bundle: everything the edge needs to run one model, in one signed file.

A plain tar (POSIX ustar) of `manifest.json`, `signature.json` and the members that the manifest lists with their
digests. The same inputs give the same bytes, and only those bytes are accepted: a reader packs the members again and
compares, so that no byte of the file can differ, headers and padding included.
"""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from contracts.bundle.filter import Filter
from contracts.bundle.keys import SigningKey, TrustedKeys
from contracts.decode import decoded
from contracts.errors import BundleError, DigestError, RevokedKeyError, UnsignedError, UntrustedKeyError
from contracts.features.schema import FeatureSchema, require_schema
from contracts.files import read_file, sha256, write_file
from contracts.types import Count, Name, Sha256
from contracts.vocabulary import ThreatModel

T = TypeVar("T")

MANIFEST, SIGNATURE = "manifest.json", "signature.json"
MAX_BUNDLE = 64 << 20
_BLOCK = 512
_REDO = "build or download the bundle again"

MemberName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,79}$(?!\n)")]
"""Flat, lower case: no member can leave the folder that it is unpacked into."""


class Member(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Digest and size of one member."""

    sha256: Sha256
    bytes: Count


class Artifact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One form of the compiled model: which runtime runs it, and for which machine if it is native code."""

    runtime: Literal["tflite", "treelite-native", "treelite-gtil"]
    member: MemberName
    machine: str | None = None


class BundleManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a bundle holds, and what it was made from."""

    format: Literal[1]
    name: Name
    build_id: str
    architecture: str
    threat_model: ThreatModel
    form: str
    """How the model was compiled: `dynamic int8`, `all 236 rounds` and the like."""
    schema_hash: Sha256
    phases: tuple[str, ...]
    """The classes, in the order of the probabilities. An agent runs none but the phases that it knows."""
    channels: tuple[str, ...]
    view: Literal["summary", "tensor"]
    artifacts: tuple[Artifact, ...]
    members: dict[MemberName, Member]
    temperature: Annotated[float, msgspec.Meta(gt=0)]
    """What the logits are divided by before anybody believes the probabilities."""
    abstain_below: Annotated[float, msgspec.Meta(ge=0, le=1)]
    """Of the calibrated probabilities: below, the agent decides nothing."""
    filter: Filter | None = None
    """What turns windows into phase and alarm; older bundles have none."""
    tolerance: Annotated[float, msgspec.Meta(ge=0, le=1)]
    """How far a golden vector's probabilities may be off on another machine."""
    recipe: str
    seed: int
    corpus_digest: Sha256
    split_digest: Sha256
    versions: dict[str, str]


class Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ed25519 over the manifest's bytes. `key` is the id of the public key; `signature` is hexadecimal."""

    algorithm: Literal["Ed25519"]
    key: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}$(?!\n)")]
    signature: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}$(?!\n)")]


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that was read, and passed every check. `key` is the name of the trusted key, None if unsigned."""

    path: Path
    manifest: BundleManifest
    digest: str
    members: dict[str, bytes]
    key: str | None


def write_bundle(path: Path, manifest: BundleManifest, members: dict[str, bytes], key: SigningKey | None) -> str:
    """Write a bundle; its manifest's `members` are made anew. Returns the manifest's sha256. Raises `StorageError`."""
    manifest = msgspec.structs.replace(
        manifest,
        members={name: Member(sha256=sha256(data), bytes=len(data)) for name, data in sorted(members.items())},
    )
    head = msgspec.json.encode(manifest, order="sorted")
    files = {MANIFEST: head, **members}
    if key is not None:
        signature = Signature(algorithm="Ed25519", key=key.id, signature=key.sign(head).hex())
        files[SIGNATURE] = msgspec.json.encode(signature, order="sorted")
    write_file(path, _pack(files))
    return sha256(head)


def read_bundle(
    path: Path,
    *,
    schema: FeatureSchema | None,
    trust: TrustedKeys | None,
    allow_unsigned: bool = False,
    data: bytes | None = None,
) -> Bundle:
    """Read and verify a bundle, before anything in it is used.

    schema: None to look at one of any feature schema; data: the file's bytes, where they were read already.

    Raises `MissingError`, `TornError`, `BundleError`, `DigestError`, `UnsignedError`, `UntrustedKeyError`,
    `RevokedKeyError`, `SchemaMismatchError`.
    """
    files = _unpack(path, read_file(path, MAX_BUNDLE) if data is None else data)
    head = files.pop(MANIFEST, None)
    if head is None:
        raise BundleError(path, f"no {MANIFEST}", expected="a Phasewatch bundle", remedy=_REDO)
    key = _vouched(path, head, files.pop(SIGNATURE, None), trust, allow_unsigned)
    where = f"{path}:{MANIFEST}"
    manifest = decoded(head, BundleManifest, where, BundleError, expected="a bundle manifest of format 1", remedy=_REDO)
    for name in sorted(files.keys() ^ manifest.members.keys()):
        found = "is not listed in the manifest" if name in files else "is missing"
        raise BundleError(path, f"member {name} {found}", expected="the members that were signed", remedy=_REDO)
    for name, member in manifest.members.items():
        found = sha256(files[name])
        if found != member.sha256:
            raise DigestError(
                f"{path}:{name}", f"sha256 {found[:12]}…", expected=f"{member.sha256[:12]}…", remedy=_REDO
            )
    for artifact in manifest.artifacts:
        if artifact.member not in files:
            raise BundleError(
                path, f"no member {artifact.member} for {artifact.runtime}", expected="every artifact", remedy=_REDO
            )
    if schema is not None:
        require_schema(manifest.schema_hash, schema, f"bundle {manifest.name}")
    return Bundle(path=path, manifest=manifest, digest=sha256(head), members=files, key=key)


def document(bundle: Bundle, name: str, kind: type[T]) -> T:
    """A member that is JSON. Raises `BundleError`."""
    where, wanted, remedy = f"{bundle.path}:{name}", f"a {name}", "build the bundle again"
    if name not in bundle.members:
        raise BundleError(where, "missing", expected=wanted, remedy=remedy)
    return decoded(bundle.members[name], kind, where, BundleError, expected=wanted, remedy=remedy)


def _vouched(
    path: Path, head: bytes, signature: bytes | None, trust: TrustedKeys | None, allow_unsigned: bool
) -> str | None:
    """The name of the trusted key that signed the manifest; None if unsigned bundles are allowed."""
    if signature is None:
        if allow_unsigned:
            return None
        raise UnsignedError(
            path,
            "not signed",
            expected="a signature by a trusted key",
            remedy="build it with a key, or run it all the same with --allow-unsigned",
        )
    where = f"{path}:{SIGNATURE}"
    said = decoded(signature, Signature, where, BundleError, expected="an Ed25519 signature", remedy=_REDO)
    revoked = trust.revoked(said.key) if trust else None
    if revoked is not None:
        raise RevokedKeyError(
            path,
            f"signed by {revoked}, key {said.key}, which is revoked",
            expected="a key that is still trusted",
            remedy="build it again with another key",
        )
    name = trust.name_of(said.key) if trust else None
    if trust is None or name is None:
        if allow_unsigned:
            return None
        raise UntrustedKeyError(
            path,
            f"signed by key {said.key}",
            expected="a key of the trust folder",
            remedy="put the maker's .pub file there if you trust them",
        )
    if not trust.verify(said.key, bytes.fromhex(said.signature), head):
        raise BundleError(
            f"{path}:{MANIFEST}", f"the signature by {name} does not fit", expected="the signed bytes", remedy=_REDO
        )
    return name


def _pack(files: dict[str, bytes]) -> bytes:
    """A deterministic ustar archive: members in order of name, no times, no owners."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _unpack(path: Path, data: bytes) -> dict[str, bytes]:
    """The files of an archive that `_pack` could have made; nothing else of what tar allows is even looked at.

    Raises `BundleError`.
    """

    def refuse(found: str) -> BundleError:
        return BundleError(path, found, expected="exactly the archive that was packed", remedy=_REDO)

    files: dict[str, bytes] = {}
    at = 0
    while at + _BLOCK <= len(data) and data[at : at + _BLOCK].strip(b"\0"):
        name, size = data[at : at + 100].rstrip(b"\0"), data[at + 124 : at + 135]
        if not re.fullmatch(rb"[a-z0-9][a-z0-9_.-]{0,79}", name) or not re.fullmatch(rb"[0-7]{11}", size):
            raise refuse("not a tar of plain files")
        if data[at + 156 : at + 157] != tarfile.REGTYPE:
            raise refuse(f"member {name.decode()} is a link, a folder or a device")
        if name.decode() in files:
            raise refuse(f"member {name.decode()} is there twice")
        start, length = at + _BLOCK, int(size, 8)
        if start + length > len(data):
            raise refuse(f"member {name.decode()} is cut off")
        files[name.decode()] = data[start : start + length]
        at = start + -(-length // _BLOCK) * _BLOCK
    if not files:
        raise refuse("not a tar")
    if _pack(files) != data:
        raise refuse("bytes that its members do not account for")
    return files
