"""Lazy batches: every window once, shuffled by the seed alone, as numpy and as tf.data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from contracts.features.channels import view_of
from contracts.features.schema import FeatureSchema
from trainer.dataset import lazy as module
from trainer.dataset.dataset import Dataset
from trainer.dataset.open import load_tensor_lazy

ROOT = Path(__file__).parents[2]


@pytest.fixture
def small_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many runs and pools, as a large set has."""
    monkeypatch.setattr(module, "RUN", 8)
    monkeypatch.setattr(module, "POOL", 10)


def sorted_rows(x: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> list[bytes]:
    return sorted(window.tobytes() for window in x)


@pytest.mark.usefixtures("small_runs")
@pytest.mark.parametrize("batch", [1, 32, 1000])
def test_lazy_gives_every_window_once_per_epoch(dataset: Dataset, batch: int) -> None:
    whole = dataset.load_tensor()
    lazy = dataset.load_tensor_lazy(batch=batch, seed=3)
    batches = list(lazy)
    assert len(batches) == len(lazy)
    assert {len(y) for _, y in batches[:-1]} <= {batch}
    assert sorted_rows(np.concatenate([x for x, _ in batches])) == sorted_rows(whole.x)
    assert lazy.windows == 964


def test_lazy_keeps_each_label_with_its_window(dataset: Dataset) -> None:
    whole = dataset.load_tensor()
    label = {window.tobytes(): y for window, y in zip(whole.x, whole.y, strict=True)}
    assert len(label) == 964
    for x, y in dataset.load_tensor_lazy(batch=50):
        assert [label[window.tobytes()] for window in x] == y.tolist()


@pytest.mark.usefixtures("small_runs")
def test_lazy_order_depends_on_seed_and_epoch_alone(dataset: Dataset) -> None:
    def order(seed: int | None, epoch: int) -> list[bytes]:
        return [w.tobytes() for x, _ in dataset.load_tensor_lazy(batch=64, seed=seed).epoch(epoch) for w in x]

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed, epoch in ((1, 0), (1, 1), (2, 0), (None, 0))}) == 4
    assert order(None, 0) == [window.tobytes() for window in dataset.load_tensor().x]


@pytest.mark.usefixtures("small_runs")
def test_lazy_mixes_shards_within_a_batch(dataset: Dataset) -> None:
    of = {w.tobytes(): i for i, shard in enumerate(dataset.shards) for w in shard.tensor}
    mixed = [len({of[w.tobytes()] for w in x}) for x, _ in dataset.load_tensor_lazy(batch=32, seed=0)]
    assert np.mean(mixed) > 2


def test_lazy_takes_some_channels_and_some_episodes(dataset: Dataset, schema: FeatureSchema) -> None:
    view = view_of(schema.channels, "realistic")
    some = sorted(set(dataset.load_ids().episode_id))[:7]
    lazy = load_tensor_lazy(dataset.path, schema, batch=16, channels=view, episodes=some)
    expected = dataset.load_tensor(view).of(some)
    assert sorted_rows(np.concatenate([x for x, _ in lazy])) == sorted_rows(expected.x)
    reversed_view = tuple(reversed(schema.channel_ids))
    x, _ = next(iter(dataset.load_tensor_lazy(batch=5, seed=None, channels=reversed_view)))
    np.testing.assert_array_equal(x, dataset.load_tensor().x[:5, ::-1])


@pytest.mark.slow
def test_lazy_is_the_same_as_tf_data(dataset: Dataset) -> None:
    """In a process of its own: TensorFlow spoils this one for tflite-runtime."""
    code = (
        "import sys, numpy as np; from pathlib import Path; from trainer import load_tensor_lazy\n"
        "lazy = load_tensor_lazy(Path(sys.argv[1]), batch=100, seed=5)\n"
        "found = [(x.numpy(), y.numpy()) for x, y in lazy.as_tf(epochs=2)]\n"
        "expected = [*lazy.epoch(0), *lazy.epoch(1)]\n"
        "assert len(found) == len(expected) == 20\n"
        "for (x, y), (u, v) in zip(found, expected):\n"
        "    np.testing.assert_array_equal(x, u); np.testing.assert_array_equal(y, v)\n"
        "print('equal')"
    )
    command = [sys.executable, "-c", code, str(dataset.path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout == "equal\n", done.stderr
