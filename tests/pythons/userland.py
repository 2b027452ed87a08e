"""The other Python: an environment as a user of the other release of Debian makes it, with that release's C library.

    python -m tests.pythons.userland build/pythons        (`make test-pythons` does it)

The tests run on one Python, the one of `.venv`; this is the other end: Debian 13's 3.13 (numpy 2, LiteRT alone) beside
a `.venv` of 3.11, Debian 12's 3.11 (numpy 1, tflite-runtime too) beside any later one. Everything in it is that
release's own but the compiler, which is the machine's. Made once; made again when the lock or this file change.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.debian import SUITES, Apt, made_once, run

HERE = Path(__file__).resolve()
ROOT = HERE.parents[2]
LOCK = ROOT / "constraints.txt"
OTHER = SUITES[-1] if sys.version_info < (3, 12) else SUITES[0]


def python_of(folder: Path) -> Path:
    """The environment's Python: to be started like any other."""
    return folder / "venv" / "bin" / "python"


def main(folder: Path) -> None:
    """Make what is not there yet, or say in one line why it cannot be made."""
    with made_once(folder, "python", LOCK, ROOT / "pyproject.toml", HERE) as wanted:
        if wanted:
            print(f"the other Python, {OTHER.python} of Debian {OTHER.name}: about a gigabyte to download", flush=True)
            apt, root = Apt(folder / "apt", (OTHER,), ("amd64",)), folder / OTHER.name
            apt.unpack(OTHER, root, "python3-pip-whl")
            shutil.rmtree(folder / "apt")
            run([_python(root), "-m", "venv", "--without-pip", folder / "venv"])
            (pip,) = root.glob("usr/share/python-wheels/pip-*.whl")
            install: list[str | Path] = [python_of(folder), pip / "pip", "install", "--quiet", "--no-compile"]
            run([*install, "--require-hashes", "--requirement", LOCK])
            run([*install, "--no-deps", "--no-build-isolation", "--editable", ROOT])


def _python(root: Path) -> Path:
    """The unpacked Python, through the unpacked loader, which looks for libraries there and nowhere else first."""
    python = root / "usr" / "bin" / "python"
    library, real = "x86_64-linux-gnu", f"{python}{OTHER.python}"
    # --argv0: `sys.executable` is this script, so that what this Python starts is started in the same way
    python.write_text(
        f'#!/bin/sh\nexec "{root}/lib64/ld-linux-x86-64.so.2" --inhibit-cache --argv0 "$0" '
        f'--library-path "{root}/lib/{library}:{root}/usr/lib/{library}" "{real}" "$@"\n'
    )
    python.chmod(0o755)
    return python


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
