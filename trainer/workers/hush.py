"""TensorFlow and Treelite's code generator write to the process's streams past Python; keep it for them."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Hold back what C++ code writes to stdout and stderr; it is shown on stderr if the block fails."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    failed = True
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 1)
        os.dup2(held.fileno(), 2)
        try:
            yield
            failed = False
        finally:
            for number, fd in enumerate(kept, start=1):
                os.dup2(fd, number)
                os.close(fd)
            if failed:
                held.seek(0)
                sys.stderr.write(held.read().decode(errors="replace"))
