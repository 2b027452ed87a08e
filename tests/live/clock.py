"""A wall clock that a test sets, for one process alone."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path


class Clock:
    """`env` goes to the process; `set` moves its wall clock against the machine's."""

    def __init__(self, folder: Path) -> None:
        self._file, library = folder / "clock", folder / "set_clock.so"
        source = Path(__file__).with_name("set_clock.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
        self._file.write_bytes(struct.pack("q", 0))
        self.env = {"LD_PRELOAD": str(library), "PW_CLOCK": str(self._file)}

    def set(self, seconds: float) -> None:
        """So far from the machine's clock, at once."""
        with self._file.open("r+b") as file:  # the same inode: it is mapped
            file.write(struct.pack("q", int(seconds * 1e9)))
