"""What models and datasets were made with: libraries, and our own code."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from pathlib import Path

_LIBRARIES = ("phasewatch", "numpy", "tensorflow", "keras", "xgboost", "treelite", "tl2cgen")
EXTRACTION = ("contracts", "edge/extract", "trainer/sweep", "trainer/extraction", "trainer/dataset")
"""What decides a verdict or a shard, besides the episodes and the schema."""
FITTING = (
    *EXTRACTION,
    "trainer/architectures",
    "trainer/fits/fit_one.py",
    "trainer/curves.py",
    "trainer/seeds.py",
    "trainer/workers/tensorflow_ready.py",
)
"""What decides a model, besides its data, its split, its settings and the libraries."""
TUNING = (*FITTING, "edge/scores.py", "trainer/fits/study.py")
"""What decides which settings a search finds, besides its bounds."""
EVALUATION = (
    *FITTING,
    *(
        "edge/alarm",
        "edge/scores.py",
        "edge/familiar.py",
        "trainer/evaluate",
        "trainer/fits/creeping.py",
        "trainer/fits/record.py",
    ),
)
"""What decides an evaluation, besides the models and the libraries."""
EVERYTHING = ("contracts", "edge", "trainer")
"""What a bundle's provenance names, and what every worker must have."""
_SOURCES = frozenset({".py", ".toml", ".html"})
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
        for source in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if source.suffix not in _SOURCES:
                continue
            data = source.read_bytes()
            whole.update(f"{source.relative_to(root).as_posix()} {len(data)}\n".encode() + data)
    return whole.hexdigest()


VALIDATOR_VERSION = int(code_digest(*EXTRACTION)[:7], 16)
"""Another whenever the code that judges is another: the sweep then reads everything again. 28 bits."""
