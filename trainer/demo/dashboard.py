"""The dashboard beside the demo: it fills while events arrive, and stays until somebody has looked."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console


@contextlib.contextmanager
def dashboard(where: Sequence[str], out: Path, console: Console) -> Iterator[str | None]:
    """Its address; None where it does not start, without which the demo goes on. where: the broker, as options."""
    history = out / "dashboard.sqlite"
    for end in ("", "-wal", "-shm"):
        history.with_name(history.name + end).unlink(missing_ok=True)
    command = [sys.executable, "-m", "edge.cli", "dashboard", *where, "--listen", "127.0.0.1:0"]
    with (
        (out / "dashboard.log").open("wb") as log,
        subprocess.Popen([*command, "--history", str(history)], stdout=subprocess.PIPE, stderr=log, text=True) as pages,
    ):
        try:
            assert pages.stdout is not None
            address = pages.stdout.readline().strip().removeprefix("dashboard: ") or None
            if address is None:
                console.print(f"  no dashboard: see {out / 'dashboard.log'}", soft_wrap=True)
            else:
                console.print(f"  on pages too: {address}", soft_wrap=True)
            yield address
        finally:
            pages.terminate()


def leave_open(address: str | None, console: Console) -> None:
    """Until Enter; at once where nobody could press it."""
    if address is not None and sys.stdin.isatty() and sys.stdout.isatty():
        console.print(f"\nThe dashboard is at {address} until you press Enter.", soft_wrap=True)
        with contextlib.suppress(EOFError):
            input()
