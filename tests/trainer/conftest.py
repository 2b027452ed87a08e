"""What the trainer's tests share: one dataset of some real recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contracts.features.schema import FeatureSchema
from tests.recordings import ORDERED, copy_of, some
from trainer.dataset.dataset import Dataset
from trainer.dataset.samples import Samples
from trainer.extraction.extract import Extraction, extract_store
from trainer.workers.start import engine
from trainer.workers.tensorflow_ready import prepare


def extracted(store: Path, out: Path, schema: FeatureSchema, workers: int = 1, **options: Any) -> Dataset:
    """A store's dataset."""
    with engine(workers) as made:
        return extract_store(Extraction(store=store, out=out, schema=schema, **options), made)


prepare()  # before a test module imports Keras: its settings are read when TensorFlow is loaded


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, schema: FeatureSchema) -> Dataset:
    """21 recordings of three hosts, in shards of at most 4 MiB."""
    folder = tmp_path_factory.mktemp("data")
    return extracted(some(folder / "store"), folder / "set", schema, workers=2, shard_bytes=4 << 20)


@pytest.fixture(scope="session")
def summaries(dataset: Dataset) -> Samples:
    return dataset.load_summary()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three real episodes of three hosts."""
    for host, name in (("lab-q35-1", "io-walk-s01"), ("lab-q35-2", "io-walk-s01"), ("lab-microvm-1", "io-walk-s02")):
        copy_of(ORDERED / host / f"{host}-{name}", tmp_path / "store")
    return tmp_path / "store"
