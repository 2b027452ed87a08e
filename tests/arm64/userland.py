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

from tests.debian import SUITES, Apt, Suite, made_once, run

HERE = Path(__file__).resolve()
FIRMWARE = HERE.parents[2] / "firmware-config"
REQUIREMENTS, WHEELS = FIRMWARE / "requirements.txt", FIRMWARE / "deb" / "wheels.py"
CPU = "cortex-a72"


def python_of(folder: Path, suite: Suite) -> Path:
    """The emulated Python: to be started like any other."""
    return folder / suite.name / "usr" / "bin" / "python"


def main(folder: Path) -> None:
    """Make what is not there yet, or say in one line why it cannot be made."""
    with made_once(folder, "arm64", REQUIREMENTS, WHEELS, HERE) as wanted:
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
    _wheels(root, suite)
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


def _wheels(root: Path, suite: Suite) -> None:
    """The edge's own pinned requirements, as the packages of `make deb` have them."""
    target = f"{root}/usr/local/lib/python{suite.python}/dist-packages"
    place = ("--python", suite.python, "--machine", "aarch64", "--target", target)
    run([sys.executable, str(WHEELS), *place, str(REQUIREMENTS)])


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
