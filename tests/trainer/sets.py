"""A small dataset with other channels, classes, lengths and groups than the lab's, full of what can be learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from contracts.features.channels import Channel
from trainer.architectures.architecture import Architecture
from trainer.dataset.dataset import Dataset
from trainer.dataset.from_arrays import write_dataset
from trainer.dataset.side import Side, side_of

CLASSES = ("walking", "sitting", "lying")
CHANCE = 1 / len(CLASSES)
LEARNED = (CHANCE + 1) / 2
"""A share of right decisions half way from chance to all: who learned anything is well above, whatever the weights."""
CHANNELS = (
    Channel(name="ax", source="proc", kind="given", unit="g"),
    Channel(name="ay", source="proc", kind="given", unit="g"),
    Channel(name="az", source="qmp", kind="given", unit="g"),
    Channel(name="gyro", source="guest", kind="given", unit="rad/s"),
)


def motion(windows: int = 360, steps: int = 48, people: int = 12, seed: int = 0) -> dict[str, Any]:
    """Arguments of `write_dataset`: each class is a rhythm on three channels and a posture on one; every person has a
    gain of their own. Made here, after the manner of public motion sets (channels of an accelerometer, groups of
    people): no window of theirs is in it."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(windows) % len(CLASSES))  # in no order: the time shall tell nothing
    person = (np.arange(windows) // len(CLASSES)) % people
    gain = rng.uniform(0.8, 1.2, people)[person]
    time = np.arange(steps) / steps
    phase = rng.uniform(0, 2 * np.pi, windows)
    rhythm = np.sin(2 * np.pi * np.array([6.0, 1.0, 0.0])[y][:, None] * time + phase[:, None])
    X = rng.normal(0, 0.3, (windows, len(CHANNELS), steps))
    X[:, :3] += (gain[:, None] * rhythm)[:, None]
    X[:, 3] += np.array([0.0, 0.5, 1.5])[y][:, None]
    X[rng.random(X.shape) < 0.02] = np.nan
    return {
        "X": X,
        "mask": None,
        "y": y,
        "episode_id": [f"walk-{p}" for p in person],
        "host_id": [f"person-{p}" for p in person],
        "channels": CHANNELS,
        "classes": CLASSES,
        "step_ns": 20_000_000,
    }


def motion_set(path: Path, **options: Any) -> Dataset:
    """Written."""
    given = motion(**options)
    return write_dataset(path, given.pop("X"), given.pop("mask"), given.pop("y"), **given)


def sides(dataset: Dataset, architecture: Architecture, **options: Any) -> tuple[Side, Side]:
    """Train and validation by people, as an architecture sees them."""
    people, channels = [f"walk-{i}" for i in range(12)], dataset.schema.channel_ids
    train, validation = (
        side_of(dataset, architecture.view, channels, some, **options) for some in (people[:8], people[8:])
    )
    return train, validation
