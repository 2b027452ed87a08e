"""Labels that are wrong, and labels by a clock that was wrong: each is called what it is."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ClockError, LabelError
from contracts.telemetry.episode import check_labels, read_manifest
from contracts.telemetry.manifest import Manifest
from contracts.telemetry.rows import LabelRow
from tests.recordings import ONE

SECOND = 1_000_000_000
START = 1_760_000_000 * SECOND
PATH = Path("labels.jsonl")
MANIFEST = msgspec.structs.replace(read_manifest(ONE), started_wall_ns=START, ended_wall_ns=START + 600 * SECOND)


def labels_at(*seconds: float, mono: tuple[float, ...] = ()) -> list[LabelRow]:
    """Labels at so many seconds after the start, by wall and by monotonic clock (the same, unless told)."""
    return [
        LabelRow(t_wall_ns=START + round(wall * SECOND), t_mono_ns=round((1000 + since) * SECOND), phase="clean")
        for wall, since in zip(seconds, mono or seconds, strict=True)
    ]


times = st.lists(st.integers(0, 590), min_size=2, max_size=6, unique=True).map(sorted)


@given(times, st.data())
def test_labels_name_the_step_whenever_the_clock_is_set_back_past_a_label(mono: list[int], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(mono) - 1))
    step = data.draw(st.integers(mono[at] - mono[at - 1], 10**6))
    wall = [second - step * (i >= at) for i, second in enumerate(mono)]
    with pytest.raises(
        ClockError, match=rf"^labels\.jsonl:{at + 1}: clean: .* set back by {step}\.000 s since the label"
    ):
        check_labels(labels_at(*wall, mono=tuple(mono)), MANIFEST, PATH)


@given(times, st.data())
def test_labels_name_the_step_whenever_the_clock_is_set_out_of_the_episode(
    mono: list[int], data: st.DataObject
) -> None:
    at = data.draw(st.integers(1, len(mono) - 1))
    step = data.draw(st.integers(600 - mono[at], 10**6))
    wall = [second + step * (i == at) for i, second in enumerate(mono)]
    with pytest.raises(ClockError, match=rf"^labels\.jsonl:{at + 1}: clean: .* set forward by {step}\.000 s since the"):
        check_labels(labels_at(*wall, mono=tuple(mono)), MANIFEST, PATH)


@given(times)
def test_labels_in_order_inside_their_episode_pass(mono: list[int]) -> None:
    check_labels(labels_at(*mono), MANIFEST, PATH)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (labels_at(0, 20, 10), r":3: clean at \d+, not after the label before it; expected labels in order of time"),
        (labels_at(0, 20, 20), ":3: .* not after the label before it"),
        (labels_at(0, 20, 10, mono=(0, 20, 20)), ":3: .* not after the label before it"),
        (labels_at(-1, 20), r":1: clean at \d+, outside the episode; expected a time from \d+ to \d+"),
        (labels_at(0, 600), ":2: .* outside the episode"),
        (labels_at(0, 600, mono=(0, -5)), ":2: .* outside the episode"),
        (labels_at(0, 700, mono=(0, 690)), ":2: .* outside the episode"),
    ],
)
def test_labels_that_both_clocks_call_wrong_are_wrong_labels(labels: list[LabelRow], message: str) -> None:
    with pytest.raises(LabelError, match=rf"^labels\.jsonl{message}"):
        check_labels(labels, MANIFEST, PATH)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ({"ended_wall_ns": START - 30 * SECOND}, r"ends 30\.000 s before it starts"),
        ({"started_wall_ns": 12 * SECOND}, r"starts at 1970-01-01T00:00:12Z and lasts 20370 days"),
        (
            {"started_wall_ns": 0, "ended_wall_ns": 32 * 86_400 * SECOND},
            r"starts at 1970-01-01T00:00:00Z and lasts 32 days",
        ),
        ({"started_wall_ns": 946_684_799 * SECOND}, r"starts at 1999-12-31T23:59:59Z and lasts 9413 days"),
    ],
)
def test_manifest_of_a_wrong_clock_is_refused_as_such(tmp_path: Path, times: dict[str, int], message: str) -> None:
    _write(tmp_path, msgspec.structs.replace(MANIFEST, **times))
    remedy = "wait for the clock to be set, then record it again"
    with pytest.raises(ClockError, match=rf"episode\.json: {message}; expected a clock that was set .*; {remedy}"):
        read_manifest(tmp_path)


def test_manifest_by_a_clock_that_was_never_set_is_read(tmp_path: Path) -> None:
    """All of it in 1970: its times agree with each other."""
    _write(tmp_path, msgspec.structs.replace(MANIFEST, started_wall_ns=SECOND, ended_wall_ns=600 * SECOND))
    assert read_manifest(tmp_path).started_wall_ns == SECOND


def _write(folder: Path, manifest: Manifest) -> None:
    (folder / "episode.json").write_bytes(msgspec.json.encode(manifest))
