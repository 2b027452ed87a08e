"""A whole store with every defect planted in known numbers: the sweep finds exactly those, and nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from contracts.features.schema import FeatureSchema
from tests.bench.store import make_store
from tests.sweeping import run
from tests.trainer.conftest import extracted
from trainer.sweep.catalogue import read_index


@pytest.mark.slow
def test_sweep_of_a_store_finds_exactly_what_was_planted(tmp_path: Path, schema: FeatureSchema) -> None:
    store = tmp_path / "store"
    planted = make_store(store, 200, 2)
    census = run(store, workers=2)
    found = {
        finding.path: (finding.verdict, sorted({reason.code for reason in finding.reasons}))
        for finding in read_index(store / "index.parquet")
    }
    assert found == planted.found
    assert census.episodes == len(planted.found) >= 200
    assert Counter({verdict: n for verdict, n in census.verdicts.items() if n}) == planted.verdicts
    assert Counter(census.reasons) == planted.codes

    dataset = extracted(store, tmp_path / "d", schema, workers=2, degraded=True)
    usable = {path.rpartition("/")[2] for path, (verdict, _) in found.items() if verdict in ("accepted", "degraded")}
    assert set(dataset.load_ids().episode_id) == usable
