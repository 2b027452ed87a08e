"""Golden windows: those that another machine gives back, whatever the weights."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.compile.reference import GOLDEN_PER_CLASS, golden_rows


@given(seed=st.integers(0, 2**32 - 1), tolerance=st.sampled_from([1e-5, 0.01, 0.1]))
def test_golden_windows_are_clear_and_steady_ones_of_every_class_where_there_are_any(
    seed: int, tolerance: float
) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 60)
    said = rng.dirichlet([0.3] * 3, 60).astype(np.float32)
    off = rng.choice([0.0, tolerance / 3, tolerance], 60).astype(np.float32)
    rows = golden_rows(y, said, off, tolerance)
    second, first = np.sort(said, axis=1)[:, -2:].T
    good = (first - second > 2 * tolerance) & (off <= tolerance / 2)
    assert list(rows) == sorted(set(rows))
    for label in np.unique(y):
        of_class = y == label
        chosen = rows[of_class[rows]]
        assert len(chosen) == min(GOLDEN_PER_CLASS, np.count_nonzero(of_class))
        assert np.count_nonzero(good[chosen]) == min(len(chosen), np.count_nonzero(good & of_class))
