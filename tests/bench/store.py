"""A store of any size: clones of the real episodes, with planted defects of every kind in known numbers.

    python -m tests.bench.store build/store --episodes 5000

Clean clones are hard links to one copy of the real files, but for what tells one run of a guest from another; spoiled
ones are copies. What the sweep must find is written beside the store, as JSON: path -> verdict and codes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from contracts.telemetry.episode import find_episodes
from tests.defects import DEFECTS
from tests.recordings import ORDERED, other_run, rename

RARE = ("bomb", "endless line")
"""These take a second each to make: three are enough."""


@dataclass
class Planted:
    """What must be found. path -> (verdict, codes)."""

    found: dict[str, tuple[str, list[str]]] = field(default_factory=dict)

    @property
    def verdicts(self) -> Counter[str]:
        return Counter(verdict for verdict, _ in self.found.values())

    @property
    def codes(self) -> Counter[str]:
        return Counter(code for _, codes in self.found.values() for code in codes)


def make_store(store: Path, episodes: int, each: int) -> Planted:
    """A store of `episodes` folders. The i-th kind of defect is planted `each + i % 3` times: numbers differ."""
    originals = find_episodes(ORDERED)
    shared = store.parent / f".{store.name}-shared"
    shutil.copytree(ORDERED, shared)
    planted, number = Planted(), 0

    def clone(*, link: bool) -> Path:
        nonlocal number
        original = originals[number % len(originals)]
        source = shared / original.parent.name / original.name
        folder = store / original.parent.name / f"clone-{number:06}"
        number += 1
        folder.mkdir(parents=True)
        for path in source.iterdir():
            if link and path.name != "episode.json":
                os.link(path, folder / path.name)
            else:
                shutil.copyfile(path, folder / path.name)
        for stem in ("proc", "guest") if link else ():
            copy = folder / f"{stem}.jsonl.zst"
            copy.unlink()
            shutil.copyfile(source / copy.name, copy)
        rename(folder, episode_id=folder.name)
        other_run(folder, number)
        return folder

    def note(folder: Path, verdict: str, *codes: str) -> None:
        planted.found[f"{folder.parent.name}/{folder.name}"] = verdict, sorted(codes)

    for i, (name, defect) in enumerate(DEFECTS.items()):
        for _ in range(min(each, 3) if name in RARE else each + i % 3):
            folder = clone(link=False)
            defect.plant(folder)
            note(folder, defect.verdict, *defect.codes)
    for i in range(each):
        first = clone(link=False)
        note(first, "accepted")
        copy = store / "zz-copies" / first.name
        shutil.copytree(first, copy)
        note(copy, "rejected", "misplaced", "duplicate-copy")
        for host in (f"zz-twin-{i}-a", f"zz-twin-{i}-b"):
            twin = store / host / f"twin-{i}"
            shutil.copytree(first, twin)
            rename(twin, host_id=host, episode_id=f"twin-{i}")
            note(twin, "rejected", "duplicate-id")
    while len(planted.found) < episodes:
        note(clone(link=True), "accepted")
    return planted


def main() -> None:
    """Make one."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.store", description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--episodes", type=int, default=5000)
    parser.add_argument("--each", type=int, default=5)
    options = parser.parse_args()
    planted = make_store(options.store, options.episodes, options.each)
    options.store.with_suffix(".json").write_bytes(msgspec.json.encode(planted.found))
    print(f"{options.store}: {len(planted.found)} episodes, {dict(planted.verdicts)}", file=sys.stderr)


if __name__ == "__main__":
    main()
