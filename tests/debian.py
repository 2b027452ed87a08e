"""Packages of another release of Debian, unpacked into a folder: the Python that a user of that release has.

Needs no root and changes nothing of the machine: packages come through an apt of their own in the folder, from the
mirror that the machine's own apt uses, and are unpacked, not installed.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True)
class Suite:
    """One release of Debian, its Python, and the packages that this Python needs."""

    name: str
    python: str
    packages: tuple[str, ...]


_COMMON = (
    "libc6", "libexpat1", "zlib1g", "libffi8", "libsqlite3-0", "libstdc++6", "libgcc-s1", "libbz2-1.0", "liblzma5",
    "libuuid1",
)  # fmt: skip


def _suite(name: str, python: str, *more: str) -> Suite:
    own = (f"python{python}-minimal", f"libpython{python}-minimal", f"libpython{python}-stdlib")
    return Suite(name, python, (*_COMMON, *own, *more))


SUITES = (_suite("bookworm", "3.11", "libssl3"), _suite("trixie", "3.13", "libssl3t64", "libzstd1"))


@contextmanager
def made_once(folder: Path, what: str, *sources: Path) -> Iterator[bool]:
    """Whether a folder is to be made (anew): True where it is not there, or was made from other sources.

    The folder is empty then; it counts as made when the block ends well. Raises `SystemExit`, in one line, where
    Debian's packages cannot be had.
    """
    stamp = folder / ".made-from"
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in (*sources, Path(__file__)))).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        yield False
        return
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        yield True
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "").strip().splitlines() or [f"ended with {error.returncode}"]
        said = f"{what}: {error.cmd[0]}: {lines[-1]}; expected packages of Debian and of Python; are their mirrors up?"
        raise SystemExit(said) from None
    except FileNotFoundError as error:
        raise SystemExit(f"{what}: no program {error.filename}; expected Debian's apt and dpkg; use Debian") from None
    stamp.write_text(wanted)


def run(command: Sequence[str | Path], folder: Path | None = None) -> None:
    """Run a program. Raises `CalledProcessError` with what it said."""
    subprocess.run(command, cwd=folder, check=True, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Apt:
    """An apt that knows of the machine nothing but its mirror and its keys. architectures: the first is its own."""

    def __init__(self, folder: Path, suites: Iterable[Suite], architectures: Sequence[str]) -> None:
        self._folder, self._own = folder, architectures[0]
        for inner in ("state/lists/partial", "cache/archives/partial"):
            (folder / inner).mkdir(parents=True)
        (folder / "status").touch()
        trusted = f"[arch={','.join(architectures)} signed-by={KEYRING}]"
        mirror = _mirror()
        (folder / "sources.list").write_text("".join(f"deb {trusted} {mirror} {one.name} main\n" for one in suites))
        self._config = folder / "apt.conf"
        listed = " ".join(f'"{architecture}";' for architecture in architectures)
        self._config.write_text(
            "#clear APT::Update::Post-Invoke-Success;\n#clear APT::Update::Post-Invoke;\n#clear APT::Architectures;\n"
            f'APT::Architecture "{self._own}"; APT::Architectures {{ {listed} }};\nAPT::Sandbox::User "root";\n'
            f'Dir::State "{folder}/state"; Dir::State::status "{folder}/status"; Dir::Cache "{folder}/cache";\n'
            f'Dir::Etc::sourcelist "{folder}/sources.list"; Dir::Etc::sourceparts "/dev/null";\n'
            'Dir::Etc::preferences "/dev/null"; Dir::Etc::preferencesparts "/dev/null";\n'
        )
        run(["apt-get", "-c", self._config, "-qq", "update"])

    def unpack_package(self, package: str, root: Path) -> None:
        """Unpack one package, named as apt does (`name:architecture/suite`)."""
        self._unpack([package], root)

    def unpack(self, suite: Suite, root: Path, *more: str) -> None:
        """Unpack a release's Python, what it needs, and more packages of that release."""
        self._unpack([f"{package}:{self._own}/{suite.name}" for package in (*suite.packages, *more)], root)
        for name in ("lib", "lib64"):  # Debian 13 has all of it in /usr, and the loader is asked for outside
            if not (root / name).exists() and (root / "usr" / name).exists():
                (root / name).symlink_to(f"usr/{name}")

    def _unpack(self, packages: list[str], root: Path) -> None:
        folder = self._folder / root.name
        folder.mkdir()
        run(["apt-get", "-c", self._config, "-qq", "download", *packages], folder)
        for package in sorted(folder.glob("*.deb")):
            run(["dpkg-deb", "-x", package, root])


def _mirror() -> str:
    """Where the machine's own apt gets Debian from: addresses are written down nowhere in this project."""
    places = [*Path("/etc/apt").glob("*.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    for text in (path.read_text(errors="replace") for path in sorted(places) if path.is_file()):
        for line in text.splitlines():
            found = re.match(r"(?:URIs:|deb(?: \[[^]]*\])?)\s+(\S+/debian)/?(?:\s|$)", line)
            if found:
                return found[1]
    raise SystemExit("debian: apt's sources name no mirror of Debian; expected one; add it to /etc/apt/sources.list.d")
