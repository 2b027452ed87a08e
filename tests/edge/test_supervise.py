"""Each source alone: it fails, is tried again, and no other one is the worse for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.vocabulary import Source
from edge.collectors import supervise
from edge.collectors.base import Collector, SourceError, Taken
from edge.collectors.supervise import Supervised, next_tick
from tests.live.lab import until


class Odd(Collector):
    """One that does as it is told."""

    source: ClassVar[Source] = "qmp"
    period_s = 0.02

    def __init__(self) -> None:
        self.opened = self.closed = self.reads = 0
        self.fails: Exception | None = None
        self.slow_s = 0.0

    def open(self) -> None:
        self.opened += 1
        if self.fails is not None:
            raise self.fails

    def read(self) -> Sequence[Taken]:
        self.reads += 1
        time.sleep(self.slow_s)
        if self.fails is not None:
            raise self.fails
        return []

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "FIRST_S", 0.01)
    monkeypatch.setattr(supervise, "LONGEST_S", 0.05)


FAULTS = [SourceError("away", "bring it back"), OSError(5, "Input/output error"), ValueError("bug")]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_source_that_fails_is_tried_again_until_it_is_back(
    quick: None, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    one = Odd()
    one.fails = fault
    supervised = Supervised(one, lambda *_: None, "g qmp")
    supervised.start()
    until(lambda: one.opened > 3, 60, "tries")
    assert supervised.down is not None
    assert supervised.state().failures >= 3
    one.fails = None
    until(lambda: supervised.down is None and one.reads > 3, 60, "rows")
    one.fails = fault
    until(lambda: supervised.down is not None, 60, "loss")
    supervised.stop()
    supervised.join(60)
    assert one.closed == one.opened
    assert caplog.text.count("g qmp: up") == 1
    if isinstance(fault, SourceError):
        assert caplog.text.count("g qmp: away; bring it back") == 2  # a line for each change, not for each try


def test_what_a_guest_has_said_is_one_printable_line(quick: None, caplog: pytest.LogCaptureFixture) -> None:
    one = Odd()
    one.fails = SourceError("refused:\nedge: all is well \ud800", "see")
    supervised = Supervised(one, lambda *_: None, "g")
    supervised.start()
    until(lambda: one.opened > 1, 60, "tries")
    supervised.stop()
    supervised.join(60)
    assert supervised.down is not None
    assert supervised.down.isprintable()
    assert "\nedge: all is well" not in caplog.text


def test_one_that_hangs_holds_up_no_other(quick: None) -> None:
    stuck, fine = Odd(), Odd()
    stuck.slow_s = 0.5
    both = [Supervised(one, lambda *_: None, "g") for one in (stuck, fine)]
    for supervised in both:
        supervised.start()
    until(lambda: fine.reads > 20, 60, "rows")
    assert stuck.reads <= fine.reads / 5
    for supervised in both:
        supervised.stop()
        supervised.join(60)


def test_ticks_that_are_late_are_skipped_and_counted_and_never_made_up(quick: None) -> None:
    one = Odd()
    one.slow_s = 0.07  # three and a half periods
    supervised = Supervised(one, lambda *_: None, "g")
    supervised.start()
    until(lambda: one.reads >= 5, 60, "reads")
    supervised.stop()
    supervised.join(60)
    state = supervised.state()
    assert state.skipped >= 2 * (one.reads - 2)
    assert len(state.took_ms) <= one.reads


@given(st.lists(st.floats(0, 3), max_size=50), st.sampled_from([0.1, 0.5, 0.8]))
def test_ticks_lie_on_their_grid_and_each_is_either_taken_or_counted(pauses: list[float], period: float) -> None:
    """Against a plain count: time passes, and some ticks of the grid go by."""
    due, at, taken, skipped = 0.0, 0.0, 0, 0
    for pause in pauses:
        due, some = next_tick(due, period, at)
        skipped, taken = skipped + some, taken + 1
        at = max(at, due) + pause
        assert at - pause >= due - 1e-9
        assert at - pause - due < 2 * period + 1e-9
    assert abs(due - (taken + skipped) * period) < 1e-6


def test_a_thread_that_was_told_to_stop_ends_at_once(quick: None) -> None:
    one = Odd()
    one.fails = SourceError("away", "wait")
    supervised = Supervised(one, lambda *_: None, "g")
    supervised.start()
    supervised.stop()
    supervised.join(60)
    assert not any(thread.name == "g" for thread in threading.enumerate())
