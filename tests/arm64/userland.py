"""Unpack two arm64 userlands for the tests: Python 3.11 with tflite-runtime, and 3.13 with LiteRT.

    python -m tests.arm64.userland build/arm64        (`make test-arm64` does it)

Needs no root and changes nothing of the machine: packages come through an apt of their own in the folder, from the
mirror that the machine's own apt uses, and are unpacked, not installed. Programs run under the static qemu of Debian 13
(that of Debian 12 crashes on LiteRT 2.3) as a Cortex-A72, the core of a Pi 4: what it lacks ends with an illegal
instruction. Made once; made again when the pinned packages or this file change.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

HERE = Path(__file__).resolve()
REQUIREMENTS = HERE.parents[2] / "firmware-config" / "requirements.txt"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
CPU = "cortex-a72"
GLIBC = ("2_36", "2_35", "2_34", "2_31", "2_28", "2_27", "2_24", "2_17")
"""pip takes platform tags by the letter: a wheel for an older C library has to be named."""


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
SUITES = (
    Suite("bookworm", "3.11", ("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libssl3")),
    Suite(
        "trixie",
        "3.13",
        ("python3.13-minimal", "libpython3.13-minimal", "libpython3.13-stdlib", "libssl3t64", "libzstd1"),
    ),
)


def python_of(folder: Path, suite: Suite) -> Path:
    """The emulated Python: to be started like any other."""
    return folder / suite.name / "usr" / "bin" / "python"


def main(folder: Path) -> None:
    """Make what is not there yet, or say in one line why it cannot be made."""
    stamp = folder / ".made-from"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + HERE.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        apt = _private_apt(folder / "apt")
        print("unpacking two arm64 userlands: 180 MB to download, half a minute on a good line", flush=True)
        _qemu(folder, apt)
        for suite in SUITES:
            _unpack(folder, apt, suite)
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "").strip().splitlines() or [f"ended with {error.returncode}"]
        raise SystemExit(f"arm64: {error.cmd[0]}: {lines[-1]}; expected Debian's packages; is its mirror up?") from None
    except FileNotFoundError as error:
        raise SystemExit(f"arm64: no program {error.filename}; expected Debian's apt and dpkg; use Debian") from None
    shutil.rmtree(folder / "apt")
    stamp.write_text(wanted)


def _run(command: list[str], folder: Path | None = None) -> None:
    subprocess.run(command, cwd=folder, check=True, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _mirror() -> str:
    """Where the machine's own apt gets Debian from: addresses are written down nowhere in this project."""
    places = [*Path("/etc/apt").glob("*.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    for text in (path.read_text(errors="replace") for path in sorted(places) if path.is_file()):
        for line in text.splitlines():
            found = re.match(r"(?:URIs:|deb(?: \[[^]]*\])?)\s+(\S+/debian)/?(?:\s|$)", line)
            if found:
                return found[1]
    raise SystemExit("arm64: apt's sources name no mirror of Debian; expected one; add it to /etc/apt/sources.list.d")


def _private_apt(folder: Path) -> Path:
    """The configuration of an apt that knows arm64, and of the machine nothing but its mirror and its keys."""
    for inner in ("state/lists/partial", "cache/archives/partial"):
        (folder / inner).mkdir(parents=True)
    (folder / "status").touch()
    mirror = _mirror()
    sources = "".join(f"deb [arch=arm64,amd64 signed-by={KEYRING}] {mirror} {suite.name} main\n" for suite in SUITES)
    (folder / "sources.list").write_text(sources)
    config = folder / "apt.conf"
    config.write_text(
        "#clear APT::Update::Post-Invoke-Success;\n#clear APT::Update::Post-Invoke;\n#clear APT::Architectures;\n"
        'APT::Architecture "arm64"; APT::Architectures { "arm64"; "amd64"; };\nAPT::Sandbox::User "root";\n'
        f'Dir::State "{folder}/state"; Dir::State::status "{folder}/status"; Dir::Cache "{folder}/cache";\n'
        f'Dir::Etc::sourcelist "{folder}/sources.list"; Dir::Etc::sourceparts "/dev/null";\n'
        'Dir::Etc::preferences "/dev/null"; Dir::Etc::preferencesparts "/dev/null";\n'
    )
    _run(["apt-get", "-c", str(config), "-qq", "update"])
    return config


def _downloaded(apt: Path, folder: Path, packages: list[str]) -> list[Path]:
    folder.mkdir(parents=True)
    _run(["apt-get", "-c", str(apt), "-qq", "download", *packages], folder)
    return sorted(folder.glob("*.deb"))


def _qemu(folder: Path, apt: Path) -> None:
    (package,) = _downloaded(apt, folder / "apt" / "qemu", ["qemu-user:amd64/trixie"])
    _run(["dpkg-deb", "-x", str(package), str(folder / "apt" / "unpacked")])
    shutil.move(folder / "apt" / "unpacked" / "usr" / "bin" / "qemu-aarch64", folder / "qemu-aarch64")


def _unpack(folder: Path, apt: Path, suite: Suite) -> None:
    root = folder / suite.name
    wanted = [f"{package}:arm64/{suite.name}" for package in (*_COMMON, *suite.packages)]
    for package in _downloaded(apt, folder / "apt" / suite.name, wanted):
        _run(["dpkg-deb", "-x", str(package), str(root)])
    if not (root / "lib").exists():  # Debian 13 has all of it in /usr, and the loader is asked for in /lib
        (root / "lib").symlink_to("usr/lib")
    _wheels(root, suite, folder / "apt" / f"{suite.name}.txt")
    python = python_of(folder, suite)
    # -0: `sys.executable` is this script, so that what the emulated Python starts with it is emulated too
    python.write_text(
        f'#!/bin/sh\nexec "{folder}/qemu-aarch64" -cpu {CPU} -L "{root}" -0 "$0" "{python}{suite.python}" "$@"\n'
    )
    python.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    # unpacked packages have no bytecode, and without it every start takes twice as long
    subprocess.run(
        [str(python), "-c", "import ctypes, logging, sqlite3, ssl, numpy, msgspec, cryptography, paho.mqtt.client"],
        check=True,
        env=environment,
        capture_output=True,
        text=True,
    )


def _wheels(root: Path, suite: Suite, requirements: Path) -> None:
    """The edge's own pinned requirements, as a Pi would get them."""
    requirements.write_text("".join(_there(suite)))
    platforms = [f"--platform=manylinux_{glibc}_aarch64" for glibc in GLIBC]
    _run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"),
            *("--require-hashes", "--only-binary=:all:", "--ignore-requires-python", "--root-user-action=ignore"),
            *(
                "--implementation=cp",
                f"--python-version={suite.python}",
                *platforms,
                "--platform=manylinux2014_aarch64",
            ),
            f"--target={root}/usr/local/lib/python{suite.python}/dist-packages",
            f"--requirement={requirements}",
        ]
    )


def _there(suite: Suite) -> list[str]:
    """Pinned lines that hold there, without their markers: pip asks the Python that it runs on."""
    place = {
        "python_version": suite.python,
        "python_full_version": f"{suite.python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "platform_machine": "aarch64",
        "sys_platform": "linux",
    }
    found = []
    for line in REQUIREMENTS.read_text().replace("\\\n", "").splitlines():
        wanted, *hashes = line.split("--hash=")
        if not wanted.strip() or wanted.startswith("#"):
            continue
        requirement = Requirement(wanted.strip())
        if requirement.marker is None or requirement.marker.evaluate(place):
            pinned = f"{requirement.name}{requirement.specifier}"
            found.append(" ".join([pinned, *(f"--hash={one.strip()}" for one in hashes)]) + "\n")
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
