"""Unpack two arm64 userlands for the tests: Python 3.11 with tflite-runtime, and 3.13 with LiteRT.

    python -m tests.arm64.userland build/arm64        (`make test-arm64` does it)

Programs run under the static qemu of Debian 13 (that of Debian 12 crashes on LiteRT 2.3) as a Cortex-A72, the core of a
Pi 4: what it lacks ends with an illegal instruction. Made once, and anew when the pinned packages or this file change.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

from tests.debian import SUITES, Apt, Suite, made_once, run

HERE = Path(__file__).resolve()
REQUIREMENTS = HERE.parents[2] / "firmware-config" / "requirements.txt"
CPU = "cortex-a72"
GLIBC = ("2_36", "2_35", "2_34", "2_31", "2_28", "2_27", "2_24", "2_17")
"""pip takes platform tags by the letter: a wheel for an older C library has to be named."""


def python_of(folder: Path, suite: Suite) -> Path:
    """The emulated Python: to be started like any other."""
    return folder / suite.name / "usr" / "bin" / "python"


def main(folder: Path) -> None:
    """Make what is not there yet, or say in one line why it cannot be made."""
    with made_once(folder, "arm64", REQUIREMENTS, HERE) as wanted:
        if wanted:
            print("unpacking two arm64 userlands: 180 MB to download, half a minute on a good line", flush=True)
            apt = Apt(folder / "apt", SUITES, ("arm64", "amd64"))
            apt.unpack_package("qemu-user:amd64/trixie", folder / "apt" / "unpacked")
            shutil.move(folder / "apt" / "unpacked" / "usr" / "bin" / "qemu-aarch64", folder / "qemu-aarch64")
            for suite in SUITES:
                apt.unpack(suite, folder / suite.name)
                _make_python(folder, suite)
            shutil.rmtree(folder / "apt")


def _make_python(folder: Path, suite: Suite) -> None:
    root = folder / suite.name
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
    run(
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
