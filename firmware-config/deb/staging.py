"""The files of a package, put together in a folder as they will lie there, and packed: same inputs, same bytes."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

COMPRESSIONS = {"xz": ("-Zxz", "-z3", "--threads-max=1"), "gzip": ("-Zgzip", "-z1")}
"""Options of dpkg-deb: the first for users, the second for tests. Level 3 takes a third of the usual 6's time, and a
tenth more room; threads would cut the blocks elsewhere."""


class Staging:
    """One package before it is packed. root: an empty folder; epoch: the time of every file (Unix seconds)."""

    def __init__(self, root: Path, epoch: int) -> None:
        self.root, self._epoch = root, epoch
        self._conffiles: list[str] = []
        (root / "DEBIAN").mkdir(parents=True)

    def text(self, place: str, text: str, *, mode: int = 0o644) -> None:
        """A file of this text."""
        path = self._at(place)
        path.write_text(text)
        path.chmod(mode)

    def copy(self, source: Path, place: str, *, mode: int = 0o644) -> None:
        """A file as it stands."""
        path = self._at(place)
        shutil.copyfile(source, path)
        path.chmod(mode)

    def zipped(self, data: bytes, place: str) -> None:
        """A file, packed by gzip."""
        self._at(place).write_bytes(gzip.compress(data, 9, mtime=0))

    def conffile(self, text: str, place: str) -> None:
        """One that its user may edit, and an upgrade leaves alone."""
        self.text(place, text)
        self._conffiles.append(f"/{place}")

    def folder(self, place: str) -> None:
        """An empty one."""
        (self.root / place).mkdir(parents=True)

    def link(self, place: str, to: str) -> None:
        """A symbolic link."""
        self._at(place).symlink_to(to)

    def script(self, name: str, source: Path, words: dict[str, str]) -> None:
        """A maintainer script (preinst and so on), with @WORDS@ filled in."""
        text = source.read_text()
        for word, value in words.items():
            text = text.replace(f"@{word}@", value)
        path = self.root / "DEBIAN" / name
        path.write_text(text)
        path.chmod(0o755)

    def _at(self, place: str) -> Path:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def pack(self, fields: dict[str, str], out: Path, compression: str) -> Path:
        """Write the package, and return its path. Raises `CalledProcessError`."""
        files = sorted(path for path in self.root.rglob("*") if path.is_file() and "DEBIAN" not in path.parts)
        control = self.root / "DEBIAN"
        # in kibibytes, each file by whole ones and each folder as one (Debian policy 5.6.20)
        size = sum(-(-path.stat().st_size // 1024) for path in files if not path.is_symlink())
        size += sum(path.is_dir() or path.is_symlink() for path in self.root.rglob("*"))
        described = fields | {"Installed-Size": str(size)}
        description = described.pop("Description")
        lines = [f"{name}: {value}\n" for name, value in described.items()]
        (control / "control").write_text("".join([*lines, f"Description: {description}\n"]))
        sums = [f"{_md5(path)}  {path.relative_to(self.root)}\n" for path in files if not path.is_symlink()]
        (control / "md5sums").write_text("".join(sums))
        if self._conffiles:
            (control / "conffiles").write_text("".join(f"{one}\n" for one in sorted(self._conffiles)))
        self._even()
        out.mkdir(parents=True, exist_ok=True)
        made = out / f"{fields['Package']}_{fields['Version']}_{fields['Architecture']}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", *COMPRESSIONS[compression], "--build", self.root, made],
            check=True,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(self._epoch)},
        )
        return made

    def _even(self) -> None:
        """What differs from machine to machine: modes by the umask, and times."""
        for path in sorted(self.root.rglob("*"), reverse=True):
            if path.is_dir():
                path.chmod(0o755)
            elif not path.is_symlink():
                runs = path.stat().st_mode & 0o100 and "site-packages" not in path.parts  # wheels' modes mean nothing
                path.chmod(0o755 if runs else 0o644)
            os.utime(path, (self._epoch, self._epoch), follow_symlinks=False)
        self.root.chmod(0o755)
        os.utime(self.root, (self._epoch, self._epoch))


def prune(folder: Path, patterns: Iterable[str]) -> None:
    """Remove what a Pi has no use for."""
    for pattern in patterns:
        for path in sorted(folder.glob(pattern), reverse=True):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
