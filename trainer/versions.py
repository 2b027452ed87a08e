"""What models and datasets were made with: libraries, and our own code."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from pathlib import Path

_LIBRARIES = ("phasewatch", "numpy", "tensorflow", "keras", "xgboost", "treelite", "tl2cgen")
EXTRACTION = ("contracts", "edge/extract", "trainer/corpus")
"""What decides a verdict or a shard, besides the episodes and the schema."""
FITTING = ("trainer/architectures", "trainer/fit", "trainer/fitting.py", "trainer/corpus", "edge/scores.py")
"""What decides a model, besides its data, its settings and the libraries."""
EVALUATION = ("trainer/evaluate", "edge/alarm.py", *FITTING)
"""What decides an evaluation, besides the models and the libraries."""
ROOT = Path(__file__).resolve().parents[1]


def library_versions() -> dict[str, str]:
    """Distribution -> version."""
    return {library: importlib.metadata.version(library) for library in _LIBRARIES}


def code_digest(*places: str) -> str:
    """sha256 over the sources of some packages and modules (`edge/extract`, `edge/scores.py`), 64 hex digits.

    Whatever is kept from an earlier run is kept under the digest of the code that decided it: a version number that
    nobody raised keeps what another program worked out.
    """
    return _digest(ROOT, places)


@functools.cache
def _digest(root: Path, places: tuple[str, ...]) -> str:
    whole = hashlib.sha256()
    for place in places:
        path = root / place
        for source in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            data = source.read_bytes()
            whole.update(f"{source.relative_to(root).as_posix()} {len(data)}\n".encode() + data)
    return whole.hexdigest()
