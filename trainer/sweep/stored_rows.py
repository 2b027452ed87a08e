"""The rows of one stored file, for the trainer: numpy counts bytes several times faster than Python before 3.13."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from contracts.telemetry.lines import row_batches, stored_bytes
from contracts.telemetry.manifest import FileEntry


def batches_of(path: Path, entry: FileEntry, stem: str) -> Iterator[list[Any]]:
    """Some thousand rows at a time. Raises as `stored_bytes` and `row_batches` do."""
    return row_batches(stored_bytes(path, entry), stem, path, count=count)


def count(text: bytes, byte: int) -> int:
    """`bytes.count`."""
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == byte))
