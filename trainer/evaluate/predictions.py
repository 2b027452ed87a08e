"""What a model said of each held-out window, as Parquet: for whoever wants to do the sums again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from contracts.files import writing
from trainer.dataset.dataset import Dataset
from trainer.dataset.samples import IDS, Samples


def save_predictions(path: Path, test: Samples, probabilities: NDArray[np.float32], dataset: Dataset) -> None:
    """Ids, centre_ns, purity, label (its name), and a probability per class, not calibrated. Raises `StorageError`."""
    names = np.array(dataset.classes, object)
    columns = {
        **{name: pa.array(getattr(test, name), pa.string()) for name in IDS},
        "centre_ns": test.centre_ns,
        "purity": test.purity,
        "label": pa.array(names[test.y], pa.string()),
        **{f"p_{name}": np.ascontiguousarray(probabilities[:, i]) for i, name in enumerate(dataset.classes)},
    }
    with writing(path) as file:
        pq.write_table(pa.table(columns), file)
