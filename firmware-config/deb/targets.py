"""For which machines packages are made: a release of Debian or Raspberry Pi OS with its Python, and an architecture."""

from __future__ import annotations

from dataclasses import dataclass

PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
RELEASES = {"bookworm": 12, "trixie": 13}
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Target:
    """suite: bookworm or trixie; architecture: as Debian names it."""

    suite: str
    architecture: str

    @property
    def python(self) -> str:
        """Of that release: 3.11 and the like."""
        return PYTHONS[self.suite]

    @property
    def next_python(self) -> str:
        """For which the wheels are not made any more."""
        major, minor = self.python.split(".")
        return f"{major}.{int(minor) + 1}"

    @property
    def machine(self) -> str:
        """As wheels and `uname -m` name it."""
        return MACHINES[self.architecture]

    @property
    def release(self) -> int:
        """12 or 13."""
        return RELEASES[self.suite]

    @property
    def suffix(self) -> str:
        """Of the version: a later release's package is the newer one."""
        return f"~deb{self.release}"
