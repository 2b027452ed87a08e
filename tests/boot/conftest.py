"""Packages, made once a run, and a booted container in which the guide was followed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contracts.features.schema import FeatureSchema
from contracts.files import locked
from tests.boot.container import Container, container
from tests.boot.roots import BOOTED, REPO, made
from tests.bundles import make_bundle
from tests.live.lab import image, until

BUILD = REPO / "firmware-config" / "deb" / "build.py"
VERSION = re.findall(r'^version = "(.*)"', (REPO / "pyproject.toml").read_text(), re.MULTILINE)[0]
LATER = f"{VERSION}.1"


@dataclass(frozen=True)
class Debs:
    """Packages in folders: of this version, of a later one, and of this one with a bundle."""

    now: Path
    later: Path
    site: Path
    bundles: tuple[Path, ...]
    trust: Path

    @staticmethod
    def of(folder: Path, package: str, suite: str, architecture: str) -> Path:
        """One of them."""
        release = {"bookworm": "deb12", "trixie": "deb13"}[suite]
        (found,) = folder.glob(f"{package}_*~{release}_{architecture}.deb")
        return found


def build_debs(out: Path, *options: str) -> None:
    """As `make deb` does."""
    done = subprocess.run(
        [sys.executable, str(BUILD), "--out", str(out), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def debs(shared: Path, schema: FeatureSchema, signing_key: Path) -> Debs:
    folder = shared / "debs"
    made_debs = Debs(
        now=folder / "now", later=folder / "later", site=folder / "site",
        bundles=tuple(sorted(folder.glob("*.bundle"))), trust=signing_key.with_suffix(".pub"),
    )  # fmt: skip
    with locked(shared / "debs.lock", wait_s=900):
        if not (folder / "done").exists():
            folder.mkdir(exist_ok=True)
            bundles = tuple(make_bundle(folder, schema, signing_key, favourite) for favourite in (0, 1))
            build_debs(made_debs.now)
            here = ("--suite", "bookworm", "--architecture", "amd64")
            build_debs(made_debs.later, *here, "--version", LATER)
            build_debs(made_debs.site, *here, "--bundle", str(bundles[0]), "--trust", str(made_debs.trust))
            (folder / "done").touch()
    bundles = tuple(sorted(folder.glob("*.bundle")))
    return Debs(now=made_debs.now, later=made_debs.later, site=made_debs.site, bundles=bundles, trust=made_debs.trust)


@dataclass
class Watched:
    """A container in which an agent watches a guest, as the guide says, and a subscriber writes down what it hears."""

    container: Container
    said: str

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Of one kind, in the order of arrival."""
        whole, _, _ = (self.container.shared / "heard.txt").read_bytes().rpartition(b"\n")
        lines = [line.partition(b" ") for line in whole.splitlines()]
        return [json.loads(payload) for topic, _, payload in lines if topic.endswith(b"/" + kind.encode())]

    def heard(self) -> str:
        """All of it."""
        return (self.container.shared / "heard.txt").read_text()

    def windows(self, more: int = 1, seconds: float = 60) -> list[dict[str, Any]]:
        """All of them, once so many more have come."""
        before = len(self.events("window"))
        until(lambda: len(self.events("window")) >= before + more, seconds, f"{more} more windows")
        return self.events("window")

    @property
    def pid(self) -> int:
        """Of the agent."""
        return int(self.container.property("MainPID"))


GUIDE = REPO / "docs" / "pi.md"
X86 = """QEMU=qemu-system-x86_64
TAP=tap0
ADDRESS=10.77.0.1/24
GUEST=-M q35 -accel tcg -cpu qemu64 -m 96 -kernel /srv/guests/camera-1/kernel -initrd /srv/guests/camera-1/initrd \
-append "console=ttyS0 quiet address=10.77.0.2/24"
"""
"""The guide's guest is for a Pi's processor; this is the same for the one of this container."""


def steps() -> list[str]:
    """The commands of the guide, as it has them."""
    return re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)


def follow(booted: Container) -> str:
    """All of it, in one shell, as a newcomer types it; what was said."""
    examples = "/usr/share/doc/phasewatch-edge/examples/systemd"
    first, *rest = steps()
    # no udev in a container, and so no device that the exporter could wait for
    bound = f"sed '/^BindsTo=\\|^After=sys/d' {'/lib/systemd/system/phasewatch-exporter@.service'}"
    between = f"cp /shared/camera-1.env {examples}/; {bound} > /etc/systemd/system/phasewatch-exporter@.service"
    (booted.shared / "camera-1.env").write_text(X86)
    password = '"$(cat /etc/phasewatch/credentials/dashboard-mqtt-password)"'
    listen = f"mosquitto_sub -h 127.0.0.1 -u dashboard -P {password} -t phasewatch/# -q 1 -i heard -c -F '%t %p'"
    (booted.shared / "hear.sh").write_text(f"exec {listen} >> /shared/heard.txt\n")
    hear = "systemd-run --quiet --unit=heard sh /shared/hear.sh\n"
    script = "\n".join(["set -e; cd /shared", first, between, rest[0], hear, *rest[1:]])
    return booted.sh(script, seconds=240)


@pytest.fixture(scope="module")
def watched(debs: Debs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Booted, installed, configured and watching."""
    root, guest = made(BOOTED), image()
    with container(root, tmp_path_factory.mktemp("booted")) as booted:
        for package in ("phasewatch-edge", "phasewatch-dashboard"):
            folder = debs.site if package == "phasewatch-edge" else debs.now
            booted.bring(debs.of(folder, package, "bookworm", "amd64"))
        booted.bring(guest / "kernel", guest / "initrd", *debs.bundles)
        booted.sh("mkdir -p /srv/guests/camera-1 && cp /shared/kernel /shared/initrd /srv/guests/camera-1/")
        yield Watched(booted, follow(booted))
