"""What the models were made with."""

from __future__ import annotations

import importlib.metadata

_LIBRARIES = ("phasewatch", "numpy", "tensorflow", "keras", "xgboost", "treelite", "tl2cgen")


def library_versions() -> dict[str, str]:
    """Distribution -> version."""
    return {library: importlib.metadata.version(library) for library in _LIBRARIES}
