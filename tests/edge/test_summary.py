"""Summary statistics against ten lines of numpy per channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contracts.features.schema import STATISTICS, FeatureSchema, feature_schema
from edge.extract import summarise

SCHEMA = feature_schema()
TIME = np.arange(100) * 0.1


def naive(line: NDArray[Any]) -> list[float]:
    seen = ~np.isnan(line)
    x, t = line[seen].astype(np.float64), TIME[seen]
    jumps = np.abs(np.diff(line.astype(np.float64)))
    jumps = jumps[~np.isnan(jumps)]
    return [
        x.mean() if len(x) else np.nan,
        x.std() if len(x) else np.nan,
        x.min() if len(x) else np.nan,
        x.max() if len(x) else np.nan,
        np.polyfit(t, x, 1)[0] if len(x) > 1 else np.nan,
        jumps.mean() if len(jumps) else np.nan,
    ]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 1), st.sampled_from([1e-3, 1.0, 25.0]))
def test_summarise_equals_the_naive_reference(seed: int, missing: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    tensor = (rng.normal(size=(3, 4, 100)) * scale).astype(np.float32)
    tensor[rng.random(tensor.shape) < missing] = np.nan
    tensor[0, 0] = np.nan  # a channel that was never observed
    tensor[0, 1] = np.nan
    tensor[0, 1, 50] = 3  # and one that was observed once
    expected = [[naive(line) for line in window] for window in tensor]
    found = summarise(tensor, SCHEMA).reshape(3, 4, len(STATISTICS))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_summarise_lays_features_out_as_they_are_named(schema: FeatureSchema) -> None:
    tensor = np.zeros((1, 46, 100), np.float32)
    tensor[0, 7] = 5
    summary = dict(zip(schema.feature_names, summarise(tensor, schema)[0], strict=True))
    assert summary[f"{schema.channel_ids[7]}:mean"] == 5
    assert summary[f"{schema.channel_ids[7]}:std"] == 0
    assert summary[f"{schema.channel_ids[8]}:max"] == 0


@pytest.mark.parametrize("windows", [0, 1])
def test_summarise_takes_any_number_of_windows(windows: int) -> None:
    assert summarise(np.zeros((windows, 46, 100), np.float32), SCHEMA).shape == (windows, 276)


def test_summarise_takes_windows_of_one_step() -> None:
    schema = FeatureSchema(channels=SCHEMA.channels[:1], window_ns=SCHEMA.step_ns, stride_ns=SCHEMA.step_ns,
                           flow_horizon_ns=SCHEMA.step_ns)  # fmt: skip
    found = summarise(np.array([[[3.0]], [[np.nan]]], np.float32), schema)
    np.testing.assert_array_equal(found[0], [3, 0, 3, 3, np.nan, np.nan])
    assert np.isnan(found[1]).all()


def test_summarise_gives_a_window_the_same_bits_among_many_as_alone() -> None:
    rng = np.random.default_rng(1)
    tensor = rng.normal(size=(60, 46, 100)).astype(np.float32)
    tensor[rng.random(tensor.shape) < 0.001] = np.nan
    alone = np.concatenate([summarise(window[None], SCHEMA) for window in tensor])
    np.testing.assert_array_equal(summarise(tensor, SCHEMA), alone)
