"""Another program that holds an outbox's file, as a backup does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Literal

_PROGRAM = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("CREATE TABLE IF NOT EXISTS theirs (n)")
db.execute("BEGIN" if sys.argv[2] == "reading" else "BEGIN EXCLUSIVE")
db.execute("SELECT * FROM theirs").fetchall()
print("held", flush=True)
sys.stdin.readline()
db.execute("ROLLBACK")
"""


class Holder:
    """From the start of the block until `release`, or its end, it is in the middle of reading or of writing."""

    def __init__(self, path: Path, how: Literal["reading", "writing"] = "writing") -> None:
        self._command = [sys.executable, "-c", _PROGRAM, str(path), how]

    def __enter__(self) -> Holder:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "held\n"
        return self

    def release(self) -> None:
        """Returns when it has let go."""
        if self._process.returncode is None:
            self._process.communicate("\n")
            assert self._process.returncode == 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
