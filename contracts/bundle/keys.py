"""Ed25519 (RFC 8032) keys: who made a bundle, and whom this machine trusts."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from contracts.errors import ConfigError, MissingError
from contracts.files import read_file, write_file

_DOMAIN = b"phasewatch bundle 1\n"
"""Signed before the manifest, so that a signature made for another purpose is worth nothing here."""


Keys = dict[str, tuple[str, Ed25519PublicKey]]
"""By id: the name, and the key."""
REVOKED = "revoked"


class SigningKey:
    """A private key. It is never printed and never leaves its file."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.id = _id(private.public_key())

    def sign(self, manifest: bytes) -> bytes:
        """64 bytes."""
        return self._private.sign(_DOMAIN + manifest)


class TrustedKeys:
    """Public keys by id: the `*.pub` files of one folder, each named by its file. Those in its folder `revoked` are
    trusted no more, whatever else says so."""

    def __init__(self, keys: Keys, revoked: Keys) -> None:
        self._keys, self._revoked = {name: key for name, key in keys.items() if name not in revoked}, revoked

    def name_of(self, key_id: str) -> str | None:
        """The name under which a key is trusted, or None."""
        return self._keys[key_id][0] if key_id in self._keys else None

    def revoked(self, key_id: str) -> str | None:
        """The name under which a key was revoked, or None."""
        return self._revoked[key_id][0] if key_id in self._revoked else None

    def verify(self, key_id: str, signature: bytes, manifest: bytes) -> bool:
        """Whether a trusted key signed this manifest."""
        try:
            self._keys[key_id][1].verify(signature, _DOMAIN + manifest)
        except (InvalidSignature, KeyError):
            return False
        return True


def _id(public: Ed25519PublicKey) -> str:
    """16 hex digits of the sha256 of the raw public key."""
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def generate_key(path: Path) -> Path:
    """Write a new private key (PKCS#8 PEM, mode 0600) and its public half beside it; returns the public one's path.

    Raises `ConfigError` if either is there already, `StorageError`.
    """
    public_path = path.with_suffix(".pub")
    if path == public_path:
        raise ConfigError(
            path, "the name of a public key", expected="another ending than .pub", remedy=f"say {path.stem}.key"
        )
    for taken in (path, public_path):
        if taken.exists():
            raise ConfigError(taken, "exists", expected="a new file", remedy="choose another name: keys are kept")
    private = Ed25519PrivateKey.generate()
    write_file(
        path,
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        mode=0o600,
    )
    write_file(
        public_path,
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    )
    return public_path


def load_signing_key(path: Path) -> SigningKey:
    """Read a private key. Raises `MissingError`, `ConfigError` (also when others may read the file)."""
    data = read_file(path, 1 << 16)
    if path.stat().st_mode & 0o077:
        raise ConfigError(path, "readable by others", expected="mode 0600", remedy=f"chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(
            path, "not an Ed25519 private key", expected="a PEM made by `trainer keygen`", remedy="make one"
        )
    return SigningKey(key)


def load_trusted_keys(folder: Path) -> TrustedKeys:
    """The public keys of a trust folder. Raises `MissingError`, `ConfigError`."""
    if not folder.is_dir():
        raise MissingError(
            folder, "no such folder", expected="a folder of public keys (*.pub)", remedy="name it with --trust"
        )
    return TrustedKeys(_public_keys(folder), _public_keys(folder / REVOKED))


def _public_keys(folder: Path) -> Keys:
    keys: Keys = {}
    for path in sorted(folder.glob("*.pub")):
        try:
            key = serialization.load_pem_public_key(read_file(path, 1 << 16))
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise ConfigError(
                path, "not an Ed25519 public key", expected="a PEM made by `trainer keygen`", remedy="remove it"
            )
        keys[_id(key)] = (path.stem, key)
    return keys
