"""Counters and gauges on the grid, against a naive reference and against the laws of the design."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.extract.columns import Columns
from edge.extract.sampled import CLOCK_TOLERANCE_NS, around, clock_steps, increases, levels

MS = 1_000_000
STEP = 100 * MS
AGE = 1000 * MS
UNBOUNDED = np.array([[1e30]])
START = 1_795_369_135_000 * MS


def columns(
    times: list[int], values: list[int], epochs: list[int] | None = None, mono: list[int] | None = None
) -> Columns:
    t = np.array(times, np.int64)
    return Columns(
        t_wall=t,
        t_mono=t - START + 77 if mono is None else np.array(mono, np.int64),
        arrival=t,
        epoch=np.zeros(len(t), np.int64) if epochs is None else np.array(epochs, np.int64),
        fields=("x",),
        values=np.array([values], np.int64),
    )


def boundaries(steps: int) -> NDArray[Any]:
    return START + np.arange(steps + 1) * STEP


def rise(c: Columns, bounds: NDArray[Any], age: int = AGE) -> NDArray[Any]:
    return increases(around(c, bounds), bounds, age, UNBOUNDED)[0]


def level(c: Columns, bounds: NDArray[Any]) -> NDArray[Any]:
    return levels(around(c, bounds), bounds, AGE, UNBOUNDED)[0]


def naive_increase(c: Columns, bounds: NDArray[Any]) -> list[float]:
    """Step by step, pair by pair, as the design says it."""
    found = []
    t, v, e, m = c.t_wall.tolist(), c.values[0].tolist(), c.epoch.tolist(), c.t_mono.tolist()
    for lower, upper in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        total, covered, fit = 0.0, 0, True
        for i in range(len(t) - 1):
            overlap = min(upper, t[i + 1]) - max(lower, t[i])
            if t[i] == t[i + 1] and lower < t[i] < upper:
                fit = False
            if overlap <= 0:
                continue
            covered += overlap
            gap = t[i + 1] - t[i]
            step = abs(gap - (m[i + 1] - m[i])) > CLOCK_TOLERANCE_NS
            if gap > AGE or e[i] != e[i + 1] or v[i + 1] < v[i] or step:
                fit = False
            else:
                total += (v[i + 1] - v[i]) * overlap / gap
        found.append(total if fit and covered == upper - lower else float("nan"))
    return found


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 1500), st.integers(-5, 10**9), st.booleans()),
        min_size=1,
        max_size=30,
    ),
    st.integers(-300, 300),
)
def test_increase_equals_the_naive_reference(rows: list[tuple[int, int, bool]], offset: int) -> None:
    time, value, epoch = START + offset * MS, 10**12, 0
    times, values, epochs = [time], [value], [epoch]
    for gap, more, reborn in rows:
        time, value, epoch = time + gap * MS, max(0, value + more), epoch + reborn
        times.append(time)
        values.append(value)
        epochs.append(epoch)
    c = columns(times, values, epochs)
    bounds = boundaries(60)
    np.testing.assert_allclose(rise(c, bounds)[0], naive_increase(c, bounds), rtol=1e-9, atol=1e-6)


def test_increase_conserves_a_counter_whatever_the_sampling() -> None:
    rng = np.random.default_rng(0)
    times = (START - 200 * MS + np.cumsum(rng.integers(60, 140, 80)) * MS).tolist()
    values = np.cumsum(rng.integers(0, 1000, 80)).tolist()
    rises = rise(columns(times, values), boundaries(50))
    at = np.interp([START, START + 50 * STEP], times, values)
    assert np.isclose(rises.sum(), at[1] - at[0])


def test_increase_is_exact_for_counters_past_the_precision_of_floats() -> None:
    times = [START + i * STEP for i in range(11)]
    values = [2**62 + 3 * i for i in range(11)]
    assert (rise(columns(times, values), boundaries(10)) == 3).all()


def test_a_counter_that_goes_back_is_not_observed_and_never_negative() -> None:
    times = [START + i * STEP for i in range(11)]
    values = [100, 200, 300, 400, 0, 100, 200, 300, 400, 500, 600]
    increase = rise(columns(times, values), boundaries(10))[0]
    assert np.isnan(increase).nonzero()[0].tolist() == [3]
    assert (np.delete(increase, 3) == 100).all()


def test_a_new_epoch_is_not_observed_even_when_the_counter_rose() -> None:
    times = [START + i * STEP for i in range(11)]
    values = [i * 100 for i in range(11)]
    increase = rise(columns(times, values, [0] * 5 + [1] * 6), boundaries(10))[0]
    assert np.isnan(increase).nonzero()[0].tolist() == [4]


def test_a_frozen_source_is_not_observed_after_its_maximum_age() -> None:
    times = [START + i * STEP for i in range(11)]
    rises, gauge = rise(columns(times, [5] * 11), boundaries(40)), level(columns(times, [5] * 11), boundaries(40))
    assert (gauge[0, :20] == 5).all()  # 1 s of rows, and 1 s for which the last one holds
    assert np.isnan(gauge[0, 20:]).all()
    assert (rises[0, :10] == 0).all()  # zero is a value
    assert np.isnan(rises[0, 10:]).all()


def test_a_level_is_the_last_row_before_the_steps_end() -> None:
    times = [START + 50 * MS, START + 100 * MS, START + 260 * MS]
    assert level(columns(times, [1, 2, 3]), boundaries(4))[0].tolist() == [1, 2, 3, 3]


def test_no_rows_and_one_row_are_not_observed() -> None:
    assert np.isnan(rise(columns([], []), boundaries(3))).all()
    assert np.isnan(level(columns([], []), boundaries(3))).all()
    assert np.isnan(rise(columns([START], [7]), boundaries(3))).all()
    assert (level(columns([START], [7]), boundaries(3)) == 7).all()


def test_a_step_of_the_wall_clock_is_not_observed_and_is_reported() -> None:
    times = [START + i * STEP for i in range(5)] + [START + i * STEP + 5000 * MS for i in range(5, 10)]
    mono = [i * STEP for i in range(10)]
    c = columns(times, list(range(10)), mono=mono)
    assert clock_steps(c).tolist() == [[times[4], times[5], times[5]]]
    increase = rise(c, boundaries(60), 10**12)[0]
    assert np.isnan(increase[4:54]).all()
    assert np.isclose(increase[:4], 1).all()


def test_a_wall_clock_that_jumps_back_gives_no_negative_rate() -> None:
    times = [START + i * STEP for i in range(20)] + [START + i * STEP for i in range(5, 25)]
    mono = [i * STEP for i in range(40)]
    c = columns(times, [10 * i for i in range(40)], mono=mono)
    assert clock_steps(c)[:, :2].tolist() == [[START + 5 * STEP, START + 19 * STEP]]
    increase = rise(c, boundaries(24))[0]
    assert not (increase < 0).any()
    assert np.isnan(increase[5:19]).all()
