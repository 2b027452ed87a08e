"""The alarm of bundles without a filter: raised by two infected windows in a row, cleared by three others, and not
moved by abstentions."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from contracts.vocabulary import PHASES
from edge.alarm import Seen, alarm_of
from edge.alarm.in_a_row import CLEAR_AFTER, RAISE_AFTER

windows = st.lists(st.sampled_from([True, False, None]), max_size=60)
RUNNING, CLEAN = PHASES.index("infected_running"), PHASES.index("clean")


def seen(some: Sequence[bool | None]) -> list[bool]:
    alarm = alarm_of(None, PHASES)
    decided = [None if one is None else RUNNING if one else CLEAN for one in some]
    return [alarm.see(Seen(i, None, one)).raised for i, one in enumerate(decided)]


def test_alarm_is_raised_by_two_in_a_row_and_cleared_by_three() -> None:
    assert (RAISE_AFTER, CLEAR_AFTER) == (2, 3)
    one = [True, False, True, True, False, False, True, False, False, False, True]
    assert seen(one) == [False, False, False, True, True, True, True, True, True, False, False]


@given(windows)
def test_abstentions_change_nothing(some: list[bool | None]) -> None:
    decided = [one for one in some if one is not None]
    raised = iter(seen(decided))
    now = False
    for one, found in zip(some, seen(some), strict=True):
        now = now if one is None else next(raised)
        assert found == now


@given(windows)
def test_alarm_equals_the_naive_rule(some: list[bool | None]) -> None:
    """By looking back over the last decisions each time."""
    decided: list[bool] = []
    raised = False
    changed_at = 0
    for one, found in zip(some, seen(some), strict=True):
        if one is not None:
            decided.append(one)
            since = decided[changed_at:]
            if not raised and since[-RAISE_AFTER:] == [True] * RAISE_AFTER:
                raised, changed_at = True, len(decided)
            elif raised and since[-CLEAR_AFTER:] == [False] * CLEAR_AFTER:
                raised, changed_at = False, len(decided)
        assert found == raised
