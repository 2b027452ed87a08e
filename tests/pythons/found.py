"""Which Pythons are on this machine, and what each has."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
VERSIONS = ("3.11", "3.12", "3.13")


def interpreters_of(version: str) -> tuple[str, ...]:
    """The interpreters of TFLite models that the lock has for a Python, the preferred one first."""
    return ("ai-edge-litert", "tflite-runtime") if version == "3.11" else ("ai-edge-litert",)


def found(version: str) -> str | None:
    """A Python of a version on the PATH or among pyenv's; a name on the PATH may be a shim with nothing behind it."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for python in (f"python{version}", *map(str, sorted(versions.glob(f"{version}.*/bin/python{version}")))):
        if shutil.which(python) and _works(python):
            return python
    return None


def _works(python: str) -> bool:
    return subprocess.run([python, "-c", "import ensurepip"], capture_output=True, check=False).returncode == 0


FOUND = {version: sys.executable if version == HERE else found(version) for version in VERSIONS}
"""Version -> program, None where there is none."""
