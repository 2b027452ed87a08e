"""Programs that may die or hang, run for so long and no longer."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.workers.processes import fault_of


@dataclass(frozen=True)
class Ended:
    """How a program ended. fault: None where its status was 0; said: its standard output; complaints: the lines of its
    standard error, where it ended by itself with another status."""

    fault: str | None
    said: bytes = b""
    complaints: tuple[str, ...] = ()


def run_child(command: Sequence[str], limit_s: float, folder: Path | None = None) -> Ended:
    """Run a program, in `folder`; after `limit_s` seconds it is killed."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return Ended(f"took over {limit_s:.0f} s")
    fault = fault_of(done.returncode)
    if fault is None:
        return Ended(None, done.stdout)
    # one that a signal ended did not choose its last words
    complaints = done.stderr.decode(errors="replace").strip().splitlines() if done.returncode > 0 else []
    return Ended(fault, complaints=tuple(complaints))
