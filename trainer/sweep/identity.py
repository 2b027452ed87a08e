"""How the same recording is known again, whatever its ids, its compression or its folder.

content   a digest of the decoded rows: equal for copies that were compressed, unpacked or renamed
sketch    some of its rows, by their counters alone: shared by copies with rows missing, or with other times
boots     which runs of a guest it shows: two recordings of one run at one time show the same behaviour
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from contracts.telemetry.manifest import Manifest
from contracts.vocabulary import SOURCES, Source
from trainer.sweep.checks import Track

COUNTERS = ("pid", "starttime", "minflt", "main_run_ns", "vcpu_run_ns")
"""Of proc: process, and what only rises. Two guests, or two moments of one, never have all equal."""
SKETCH = 32
"""The rows with the smallest hashes (bottom-k sketch; Cohen and Kaplan, 2007):
of two episodes that share most rows, most are the same."""
SHARED = 16
"""Of them. Fewer than half of the rows in common are two recordings."""
MOST_BOOTS = 16
_MIX = np.uint64(0x9E3779B97F4A7C15)


def content_of(tracks: Mapping[Source, Track]) -> str:
    """sha256 over the looked-at fields of all rows, 64 hex digits; empty where there is no row."""
    whole, rows = hashlib.sha256(), 0
    for source in SOURCES:
        if source in tracks:
            rows += tracks[source].rows
            whole.update(f"{source} {tracks[source].rows}\n".encode())
            for name, values in tracks[source].items():
                whole.update(name.encode() + np.ascontiguousarray(values).tobytes())
    return whole.hexdigest() if rows else ""


def sketch_of(proc: Track | None) -> list[int]:
    """Up to `SKETCH` hashes, ascending, of rows that differ in their counters; none where they are too few to tell."""
    if proc is None or proc.rows < SKETCH:
        return []
    mixed: NDArray[np.uint64] = np.zeros(proc.rows, np.uint64)
    for name in COUNTERS:
        mixed ^= proc[name].astype(np.uint64)
        mixed *= _MIX
        mixed ^= mixed >> np.uint64(29)
    kept = np.unique(mixed)[:SKETCH]
    return [int(one) for one in (kept >> np.uint64(1)).tolist()] if len(kept) == SKETCH else []


def boots_of(manifest: Manifest, proc: Track | None, boot_ids: Iterable[str]) -> list[str]:
    """The guest's own boot ids, and its processes on its host."""
    found = {f"boot {one}" for one in boot_ids}
    if proc is not None and proc.rows:
        pairs = np.unique(np.stack([proc["pid"], proc["starttime"]]), axis=1).T.tolist()
        found |= {f"{manifest.host_id}/{manifest.guest_id}/{pid}.{started}" for pid, started in pairs[:MOST_BOOTS]}
    return sorted(found)[: 2 * MOST_BOOTS]
