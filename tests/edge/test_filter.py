"""The filter: against brute force over every path of phases, its gaps, its blind windows, its thresholds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contracts.bundle.filter import Filter
from contracts.bundle.keys import load_trusted_keys
from contracts.errors import BundleError
from contracts.features.schema import SECOND, FeatureSchema
from contracts.telemetry.episode import Episode
from contracts.vocabulary import INFECTED, PHASES
from edge.alarm import Forward, Heard, InARow, Seen, alarm_of
from edge.alarm.forward import FORGOTTEN
from edge.model.opened import activate
from tests.bundles import make_bundle
from tests.edge.replayed import windows_of

STRIDE = 5 * SECOND
CLEAN, RUNNING, DORMANT = (PHASES.index(name) for name in ("clean", "infected_running", "dormant"))
ILL = [PHASES.index(name) for name in sorted(INFECTED)]


def filter_of(start: NDArray[np.float64], step: NDArray[np.float64], raise_at: float = 3.0) -> Filter:
    return Filter(
        start=tuple(start.tolist()),
        transitions=tuple(map(tuple, step.tolist())),
        stride_ns=STRIDE,
        raise_at=raise_at,
        clear_below=0.0,
        budget_per_day=1.0,
        clean_hours=0.7,
        false_alarms=0,
        supported_per_day=102.0,
    )


def lab_like(raise_at: float = 3.0) -> Filter:
    """Phases that last, and follow one another; nobody is dormant who was not infected before."""
    step = np.array(
        [
            [0.98, 0.01, 0.01, 0.00, 0.00],
            [0.04, 0.92, 0.04, 0.00, 0.00],
            [0.01, 0.00, 0.88, 0.10, 0.01],
            [0.01, 0.00, 0.01, 0.95, 0.03],
            [0.01, 0.00, 0.02, 0.03, 0.94],
        ]
    )
    return filter_of(np.array([0.96, 0.01, 0.01, 0.01, 0.01]), step, raise_at)


def says(phase: int, sure: float = 0.8) -> NDArray[np.float32]:
    p = np.full(5, (1 - sure) / 4, np.float32)
    p[phase] = sure
    return p


def hear(spec: Filter, windows: Sequence[NDArray[np.float32] | None], strides: list[int] | None = None) -> list[Heard]:
    alarm, now, found = alarm_of(spec, PHASES), 0, []
    for window, passed in zip(windows, strides or [1] * len(windows), strict=True):
        now += passed * STRIDE
        found.append(alarm.see(Seen(now, window, None)))
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_the_filter_equals_the_sum_over_every_path_of_phases(seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    start, step = rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(5), 5)
    p = rng.dirichlet(np.ones(5) * 0.7, length).astype(np.float32)
    weights = np.zeros(5)
    for path in itertools.product(range(5), repeat=length):
        one = start[path[0]] * max(p[0, path[0]], 1e-6)
        for t in range(1, length):
            one *= step[path[t - 1], path[t]] * max(p[t, path[t]], 1e-6)
        weights[path[-1]] += one
    expected = weights / weights.sum()
    found = hear(filter_of(start, step), list(p))[-1]
    assert found.phase == expected.argmax()
    assert found.infected == pytest.approx(expected[ILL].sum(), rel=1e-9)


def test_quiet_windows_of_a_clean_guest_called_dormant_raise_no_alarm_where_the_old_rule_does() -> None:
    quiet = np.array([0.36, 0.1, 0.02, 0.04, 0.48], np.float32)
    windows = [quiet] * 12
    assert not any(one.raised for one in hear(lab_like(), windows))
    old = alarm_of(None, PHASES)
    assert isinstance(old, InARow)
    assert [old.see(Seen(i, p, DORMANT)).raised for i, p in enumerate(windows)][1:] == [True] * 11


def test_an_infection_raises_the_alarm_and_quiet_after_it_keeps_it() -> None:
    found = hear(lab_like(), [says(CLEAN)] * 6 + [says(RUNNING)] * 6 + [says(DORMANT)] * 8 + [says(CLEAN, 0.9)] * 12)
    assert [one.raised for one in found[:6]] == [False] * 6
    assert found[11].raised
    assert all(one.raised and one.phase == DORMANT for one in found[14:20])
    assert not found[-1].raised


@given(st.integers(1, 40))
def test_windows_without_numbers_leave_the_alarm_as_it_is(blind: int) -> None:
    spec = lab_like()
    for before in (says(CLEAN), says(RUNNING)):
        found = hear(spec, [*[before] * 8, *[None] * blind])
        assert {one.raised for one in found[8:]} == {found[7].raised}


@given(st.integers(2, 300), st.booleans())
def test_a_gap_is_as_many_strides_without_a_window(strides: int, ill: bool) -> None:
    first = [says(RUNNING if ill else CLEAN)] * 3
    gap = hear(lab_like(), [*first, says(CLEAN)], [1, 1, 1, strides])[-1]
    waited = hear(lab_like(), [*first, *[None] * (strides - 1), says(CLEAN)])[-1]
    assert gap.infected == pytest.approx(waited.infected, rel=1e-6)
    assert gap.raised == waited.raised


def test_after_an_hour_without_a_window_all_is_forgotten_and_more_costs_nothing() -> None:
    hour, month = (
        hear(lab_like(), [says(RUNNING)] * 3 + [says(CLEAN)], [1, 1, 1, strides])[-1]
        for strides in (FORGOTTEN, 30 * 24 * FORGOTTEN)
    )
    assert hour == month


def test_a_clock_that_was_set_back_is_one_stride() -> None:
    back = hear(lab_like(), [says(RUNNING), says(RUNNING)], [100, -50])[-1]
    assert back == hear(lab_like(), [says(RUNNING), says(RUNNING)], [100, 1])[-1]


def test_another_models_filter_goes_on_from_what_was_believed_and_the_old_rule_from_what_stands() -> None:
    alarm = alarm_of(lab_like(), PHASES)
    for i in range(6):
        alarm.see(Seen(i * STRIDE, says(RUNNING), None))
    heir = alarm_of(lab_like(raise_at=50.0), PHASES, after=alarm)
    assert isinstance(alarm, Forward)
    assert isinstance(heir, Forward)
    assert heir.raised
    assert heir.odds == alarm.odds
    assert alarm_of(None, PHASES, after=heir).raised
    assert alarm_of(lab_like(), PHASES, after=alarm_of(None, PHASES)).raised is False


SPOILT: dict[str, dict[str, Any]] = {
    "a row that sums to 2": {"transitions": ((0.4,) * 5, *lab_like().transitions[1:])},
    "a row too few": {"transitions": lab_like().transitions[1:]},
    "a phase too few": {"start": (0.25,) * 4},
    "over before it rises": {"clear_below": 4.0},
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_bundle_whose_filter_is_none_is_refused(
    tmp_path: Path, schema: FeatureSchema, signing_key: Path, how: str
) -> None:
    spec = msgspec.structs.replace(lab_like(), **SPOILT[how])
    bundle = make_bundle(tmp_path, schema, signing_key, spec=spec)
    with pytest.raises(BundleError, match="a filter that is none; expected probabilities that sum to 1"):
        activate(bundle, schema, load_trusted_keys(signing_key.parent))


def test_windows_carry_the_filtered_phase_beside_the_raw_one_and_replay_the_same(
    tmp_path: Path, schema: FeatureSchema, signing_key: Path, episode: Episode
) -> None:
    bundle = make_bundle(tmp_path, schema, signing_key, favourite=DORMANT, spec=lab_like(raise_at=6.0))
    found = windows_of(bundle, schema, episode, signing_key, tmp_path / "one.db")
    assert found == windows_of(bundle, schema, episode, signing_key, tmp_path / "other.db")
    assert not any("unfiltered" in window["flags"] for window in found)
    alarm = alarm_of(lab_like(raise_at=6.0), PHASES)
    for window in found:
        p = np.array([window["probabilities"][phase] for phase in PHASES], np.float32)
        heard = alarm.see(Seen(window["end_wall_ns"], p, None))
        assert (window["phase"], window["alarm"]) == (PHASES[heard.phase or 0], heard.raised)
        assert window["infected"] == pytest.approx(heard.infected, abs=1e-4)
    assert any(window["decided"] != window["phase"] for window in found)


def test_an_old_bundle_runs_by_the_old_rule_and_says_so(
    tmp_path: Path, schema: FeatureSchema, signing_key: Path, episode: Episode
) -> None:
    bundle = make_bundle(tmp_path, schema, signing_key, favourite=RUNNING)
    found = windows_of(bundle, schema, episode, signing_key, tmp_path / "box.db")
    assert all("unfiltered" in window["flags"] for window in found)
    assert {(window["phase"], window["infected"]) for window in found} == {(None, None)}
    assert [window["alarm"] for window in found[:3]] == [False, True, True]
