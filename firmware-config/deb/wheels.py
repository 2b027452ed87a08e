"""Unpack the wheels of a lock for another machine: by name, version and hash, and nothing is built.

python wheels.py --python 3.11 --machine aarch64 --target FOLDER LOCK
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement

GLIBC = ("2_36", "2_35", "2_34", "2_31", "2_28", "2_27", "2_24", "2_17")
"""pip takes platform tags by the letter: a wheel for an older C library has to be named."""
OLD = {"aarch64": ("manylinux2014",), "x86_64": ("manylinux2014", "manylinux2010", "manylinux1")}


def pinned(lock: Path, python: str, machine: str) -> dict[str, str]:
    """The lines of a lock that hold there, by package, without their markers: pip asks the Python that it runs on."""
    place = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "platform_machine": machine,
        "sys_platform": "linux",
    }
    found = {}
    for line in lock.read_text().replace("\\\n", "").splitlines():
        wanted, *hashes = line.split("--hash=")
        if not wanted.strip() or wanted.startswith("#"):
            continue
        requirement = Requirement(wanted.strip())
        if requirement.marker is None or requirement.marker.evaluate(place):
            pin = f"{requirement.name}{requirement.specifier}"
            found[requirement.name] = " ".join([pin, *(f"--hash={one.strip()}" for one in hashes)])
    return found


def unpack(lines: dict[str, str], python: str, machine: str, target: Path) -> None:
    """Raises `CalledProcessError` with what pip said."""
    platforms = [f"manylinux_{glibc}_{machine}" for glibc in GLIBC] + [f"{old}_{machine}" for old in OLD[machine]]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{line}\n" for line in lines.values()))
        file.flush()
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"),
                *("--require-hashes", "--only-binary=:all:", "--ignore-requires-python", "--root-user-action=ignore"),
                *("--no-compile", "--implementation=cp", f"--python-version={python}"),
                *(f"--platform={platform}" for platform in platforms),
                *(f"--target={target}", f"--requirement={file.name}"),
            ],
            check=True,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    shutil.rmtree(target / "bin", ignore_errors=True)  # start scripts for the Python that runs here


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("lock", type=Path)
    parser.add_argument("--python", required=True, help="3.11 and the like")
    parser.add_argument("--machine", required=True, choices=OLD)
    parser.add_argument("--target", required=True, type=Path)
    options = parser.parse_args()
    lines = pinned(options.lock, options.python, options.machine)
    try:
        unpack(lines, options.python, options.machine, options.target)
    except subprocess.CalledProcessError as error:
        sys.exit(f"wheels: pip: {(error.stderr or '').strip()}")


if __name__ == "__main__":
    main()
