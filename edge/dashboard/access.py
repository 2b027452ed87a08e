"""Who may look: a password, a signed cookie, and how often somebody may guess."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import time
from collections import OrderedDict
from pathlib import Path

from itsdangerous import BadSignature, TimestampSigner

from contracts.errors import ConfigError
from contracts.files import read_file, write_file

COOKIE = "phasewatch"
DAYS = 30
GUESSES, PER_S = 5, 60.0
"""Wrong passwords from one address, and from all of them ten times as many, in so many seconds."""
_N, _R, _P = 1 << 15, 8, 1
_HASH = re.compile(r"scrypt (\d{1,8}) (\d{1,2}) (\d{1,2}) ([0-9a-f]{32}) ([0-9a-f]{64})\n?")


def write_password(path: Path, password: str) -> None:
    """Its hash alone (scrypt, RFC 7914), for its owner alone. Raises `StorageError`."""
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    salt = os.urandom(16)
    key = Scrypt(salt=salt, length=32, n=_N, r=_R, p=_P).derive(password.encode())
    write_file(path, f"scrypt {_N} {_R} {_P} {salt.hex()} {key.hex()}\n".encode(), mode=0o600)


class Password:
    """What a file says of it."""

    def __init__(self, path: Path) -> None:
        """Raises `ConfigError`, `MissingError`, `UnreadableError`."""
        found = _HASH.fullmatch(read_file(path, 4096).decode(errors="replace"))
        if found is None or not (1 <= int(found[1]) <= 1 << 20 and int(found[2]) <= 32 and int(found[3]) <= 16):
            raise ConfigError(path, "no password's hash", expected="a file made by edge dashboard --set-password",
                              remedy="make it anew")  # fmt: skip
        self._n, self._r, self._p = int(found[1]), int(found[2]), int(found[3])
        self._salt, self._key = bytes.fromhex(found[4]), bytes.fromhex(found[5])

    def fits(self, said: str) -> bool:
        """Whether it is the one. It takes a tenth of a second, on purpose."""
        # imported here: most dashboards ask for none, and it takes five megabytes
        from cryptography.exceptions import InvalidKey
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

        try:
            Scrypt(salt=self._salt, length=32, n=self._n, r=self._r, p=self._p).verify(said.encode(), self._key)
        except InvalidKey:
            return False
        return True

    @property
    def mark(self) -> str:
        """Of this password: another one ends all log-ins."""
        return hmac.new(self._key, b"cookie", "sha256").hexdigest()


class Door:
    """Cookies, signed with a secret that outlives a restart."""

    def __init__(self, password: Password | None, secret: str) -> None:
        self.password = password
        self._signer = TimestampSigner(secret + (password.mark if password else ""), digest_method=hashlib.sha256)
        self._guesses: OrderedDict[str, list[float]] = OrderedDict()

    def cookie(self) -> str:
        """For somebody who is let in."""
        return self._signer.sign(b"in").decode()

    def lets_in(self, cookie: str | None) -> bool:
        """Whether it was ours, and is not too old."""
        if self.password is None:
            return True
        try:
            return self._signer.unsign(cookie or "", max_age=DAYS * 86_400) == b"in"
        except BadSignature:
            return False

    def may_guess(self, address: str) -> bool:
        """Whether this address may try, and is counted."""
        now = time.monotonic()
        for who, most in ((address, GUESSES), ("", 10 * GUESSES)):
            recent = [at for at in self._guesses.get(who, []) if now - at < PER_S]
            if len(recent) >= most:
                return False
            self._guesses[who] = [*recent, now]
        while len(self._guesses) > 1000:
            self._guesses.popitem(last=False)
        return True

    def forgive(self, address: str) -> None:
        """It was the right one."""
        self._guesses.pop(address, None)
