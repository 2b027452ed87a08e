"""Golden vectors of extraction: real rows in, tensor and summary out.

Obtained with `python -m tests.golden.extraction` (EXTRACTOR_VERSION 1, 2026-11-29, x86_64, numpy 1.26.4) from three
recordings of tests/corpus, three windows each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.features.schema import EXTRACTOR_VERSION, feature_schema
from contracts.telemetry.episode import read_episode
from edge.extract import Extractor, summarise, window_ends
from tests.recordings import columns_of_episode, of_corpus

FILE = Path(__file__).with_name("extraction.npz")
EPISODES = (("arm-1", 47), ("micro-1", 39), ("pc-1", 36))
"""All five phases and CPU; a scan; an upload."""
WINDOWS = (1, 17, 23)


def vectors() -> dict[str, NDArray[Any]]:
    """Every golden array by name."""
    schema = feature_schema()
    found: dict[str, NDArray[Any]] = {"version": np.array(EXTRACTOR_VERSION)}
    for host, number in EPISODES:
        episode = read_episode(of_corpus(host, number))
        name = episode.manifest.episode_id
        ends = window_ends(episode.manifest.started_wall_ns, episode.manifest.ended_wall_ns, schema)
        windows = Extractor(schema).extract(columns_of_episode(episode, schema), ends[list(WINDOWS)])
        found[f"{name} tensor"] = windows.tensor
        found[f"{name} summary"] = summarise(windows.tensor, schema)
    return found


if __name__ == "__main__":
    arrays: dict[str, Any] = vectors()
    np.savez_compressed(FILE, **arrays)
