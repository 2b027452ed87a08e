"""Packages, made once a run, and a booted container in which the guide was followed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from contracts.features.schema import FeatureSchema
from contracts.files import locked
from tests.boot.container import container
from tests.boot.guide import Watched, follow, prepare
from tests.boot.roots import AMD64, REPO, made
from tests.bundles import make_bundle

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
    folder, trust = shared / "debs", signing_key.with_suffix(".pub")
    now, later, site = (folder / name for name in ("now", "later", "site"))
    with locked(shared / "debs.lock", wait_s=900):
        if not (folder / "done").exists():
            folder.mkdir(exist_ok=True)
            first, _ = (make_bundle(folder, schema, signing_key, favourite) for favourite in (0, 1))
            here = ("--suite", "bookworm", "--architecture", "amd64")
            build_debs(now, "--compress", "gzip")  # eight of them: compressing takes a minute
            build_debs(later, *here, "--version", LATER, "--compress", "gzip")
            build_debs(site, *here, "--bundle", str(first), "--trust", str(trust))
            (folder / "done").touch()
    return Debs(now=now, later=later, site=site, bundles=tuple(sorted(folder.glob("*.bundle"))))


@pytest.fixture(scope="module")
def watched(debs: Debs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Booted, installed, configured and watching."""
    with container(made(AMD64), tmp_path_factory.mktemp("booted")) as booted:
        agent = debs.of(debs.site, "phasewatch-edge", "bookworm", "amd64")
        prepare(booted, (agent, debs.of(debs.now, "phasewatch-dashboard", "bookworm", "amd64")))
        booted.bring(*debs.bundles)
        yield Watched(booted, follow(booted))
