"""`edge audit`: gaps, repeats, reorderings, clashes and what breaks the schema are found, and no others."""

from __future__ import annotations

import itertools
import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.events.envelope import encode_event, make_event, numbered
from contracts.events.payloads import BundleRef, ConfusionData, GapData, Run
from contracts.shell.broker import parse_broker
from edge.audit.ranges import Ranges
from edge.audit.streams import Auditor, Finding
from edge.deliver.line import Line
from edge.deliver.outbox import opened
from edge.deliver.rows import Bounds
from edge.session.delivery import Delivery
from tests.edge.test_outbox_bounds import HASH, numbered_event

TOPIC, SOURCE = "phasewatch/n/g/confusion", "/phasewatch/n/g"
BUNDLE = BundleRef(name="b", digest="b" * 64, runtime="none", key=None)


def event(number: int, mark: int = 0, gap: GapData | None = None, at: int | None = None) -> bytes:
    """A real event with a place, of a time that goes with it; of another `mark`, another event."""
    data = gap or ConfusionData(basis="running", bundle=BUNDLE, labels=["clean"], matrix=[[mark]])
    time_ns = number if at is None else at
    return numbered(encode_event(make_event(data, node="n", guest="g", t_wall_ns=time_ns, schema_hash=HASH)), number)


def heard(*numbers: int) -> tuple[Auditor, list[Finding]]:
    auditor = Auditor()
    found = [one for number in numbers for one in auditor.hear(TOPIC, event(number), retained=False)]
    return auditor, [one for one in found if one.where == SOURCE]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60), st.integers(0, 20)), max_size=30))
def test_ranges_are_sets_of_numbers(steps: list[tuple[bool, int, int]]) -> None:
    ranges, plain = Ranges(), set[int]()
    for adds, first, more in steps:
        some = set(range(first, first + more + 1))
        if adds:
            ranges.add(first, first + more)
            plain |= some
        else:
            ranges.discard(first, first + more)
            plain -= some
        assert {number for one, last in ranges for number in range(one, last + 1)} == plain
        assert len(ranges) == len(plain)
        assert all((number in ranges) == (number in plain) for number in range(-1, 90))
        runs = list(ranges)
        assert all(last + 1 < first for (_, last), (first, _) in itertools.pairwise(runs))


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 60), st.randoms(use_true_random=False))
def test_what_is_missing_is_what_a_naive_count_says(count: int, chance: random.Random) -> None:
    sent = list(range(1, count + 1))
    came = [number for number in sent if chance.random() < 0.8] or [1]
    came += [chance.choice(came) for _ in range(chance.randrange(4))]
    start, rest = came[0], came[1:]
    for i in range(len(rest) - 1):
        if chance.random() < 0.2:
            rest[i], rest[i + 1] = rest[i + 1], rest[i]
    auditor, _ = heard(start, *rest)
    report = auditor.report().streams[SOURCE]
    last = max(came)
    assert report.missing == len(set(range(start, last + 1)) - set(came))
    assert report.events == len(came)
    assert report.repeats == len([number for number in came if number >= start]) - len(set(came))
    assert not report.clashes


def test_a_whole_stream_is_whole_from_wherever_one_begins_to_listen() -> None:
    auditor, found = heard(17, 18, 19)
    assert found == []
    report = auditor.report()
    assert (report.whole, report.missing, report.streams[SOURCE].first) == (True, 0, 17)


def test_a_gap_is_said_at_once_and_a_late_event_fills_it() -> None:
    auditor, found = heard(1, 2, 5, 3)
    assert [str(one) for one in found] == [
        f"gap: {SOURCE}: 3 to 4 passed over", f"late: {SOURCE}: 3 came after 5"
    ]  # fmt: skip
    report = auditor.report()
    assert (report.whole, report.missing, report.late) == (False, 1, 1)
    assert report.streams[SOURCE].missing_places == [Run(first=4, last=4)]


@pytest.mark.parametrize("told_first", [True, False])
def test_a_gap_that_the_agent_has_told_is_known_and_counted_apart(told_first: bool) -> None:
    auditor = Auditor()
    gap = GapData(stream=SOURCE, cause="outbox_full", ranges=[Run(first=2, last=4)], count=3)
    numbers = [1, 6, 5] if told_first else [1, 5, 6]
    for number in numbers:
        of = gap if number == 6 else None
        list(auditor.hear("phasewatch/n/g/gap" if of else TOPIC, event(number, gap=of), retained=False))
    report = auditor.report()
    assert (report.whole, report.missing, report.told) == (True, 0, 3)
    assert report.streams[SOURCE].told == {"outbox_full": 3}
    list(auditor.hear(TOPIC, event(3), retained=False))  # it was set aside, and is sent again
    assert auditor.report().told == 2


def test_repeats_are_counted_and_another_event_under_the_same_number_is_a_clash() -> None:
    auditor, found = heard(1, 2, 2, 1)
    assert found == []
    assert auditor.report().repeats == 2
    (clash,) = auditor.hear(TOPIC, event(2, mark=7), retained=False)
    assert clash.what == "clash"
    assert not auditor.report().whole


def test_a_source_that_counts_from_one_again_is_said_and_what_was_missing_stays_missing() -> None:
    auditor, _ = heard(1, 2, 4)
    (anew,) = auditor.hear(TOPIC, event(1, mark=3, at=5), retained=False)
    assert anew.what == "anew"
    list(auditor.hear(TOPIC, event(2, mark=3, at=6), retained=False))
    report = auditor.report()
    assert (report.missing, report.clashes, report.streams[SOURCE].anew) == (1, 0, 1)


def test_what_was_set_aside_before_one_listened_and_is_sent_again_is_no_other_count() -> None:
    auditor, _ = heard(100, 101, 102)
    found = [one for number in (1, 2, 3) for one in auditor.hear(TOPIC, event(number), retained=False)]
    list(auditor.hear(TOPIC, event(103), retained=False))
    report = auditor.report()
    assert (found, report.missing, report.whole, report.streams[SOURCE].anew) == ([], 0, True, 0)


@pytest.mark.parametrize(
    ("topic", "payload", "why"),
    [
        (TOPIC, b"not json", "a CloudEvents 1.0 document"),
        (TOPIC, b"[" * 100_000, "a CloudEvents 1.0 document"),
        (TOPIC, b"\xff\xfe" * 100, "a CloudEvents 1.0 document"),
        (TOPIC, event(1).replace(b'"running"', b'"a whim"'), "Invalid enum value 'a whim'"),
        (TOPIC, event(1).replace(b'"labels":', b'"more":1,"labels":'), "unknown field `more`"),
        ("phasewatch/n/other/confusion", event(1), "it on its own topic"),
        ("phasewatch/n/g/window", event(1), "it on its own topic"),
        (TOPIC, event(0), "no place"),
    ],
)  # fmt: skip
def test_what_breaks_the_schema_or_is_on_anothers_topic_is_a_violation(topic: str, payload: bytes, why: str) -> None:
    auditor = Auditor()
    (found,) = auditor.hear(topic, payload, retained=False)
    assert found.what == "violation"
    assert why in found.said
    report = auditor.report()
    assert (report.whole, report.violations, report.streams) == (False, 1, {})


def test_what_is_retained_or_no_event_is_no_part_of_a_stream() -> None:
    auditor = Auditor()
    assert list(auditor.hear(TOPIC, event(9), retained=True)) == []
    assert list(auditor.hear("phasewatch/n/availability", b"online", retained=True)) == []
    assert list(auditor.hear("phasewatch/n/session", b"{}", retained=False)) == []
    assert list(auditor.hear("phasewatch/n/g/metrics", b"", retained=False)) == []
    assert list(auditor.hear("phasewatch/n/g/mark", b'{"phase":"armed"}', retained=False)) == []
    report = auditor.report()
    assert (report.whole, report.retained, report.events) == (True, 1, 0)


def audit(url: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edge.cli", "audit", "--broker", url, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "listening to phasewatch/+/+/+\n"
    return process


@pytest.mark.system
def test_the_command_tells_known_losses_from_unknown_ones_on_a_real_broker(tmp_path: Path, mosquitto: str) -> None:
    listening = audit(mosquitto, "--idle", "2")
    with opened(tmp_path / "o", Bounds(events=6)) as outbox:
        for mark in range(10):
            numbered_event(outbox, mark, topic="gap")
        delivery = Delivery(outbox, parse_broker(mosquitto), "n", lambda _: None)
        assert delivery.wait_empty(60)
        delivery.hang_up()
    out, said = listening.communicate(timeout=30)
    report = json.loads(out)
    assert listening.returncode == 0, out
    assert (report["whole"], report["missing"]) == (True, 0)
    assert report["events"] >= 7  # six, and the notice, for which one more may have gone
    assert "told: /phasewatch/n/g: outbox_full: 1 to " in said


@pytest.mark.system
def test_the_command_ends_with_its_report_when_it_is_stopped_and_with_1_where_something_is_missing(
    mosquitto: str,
) -> None:
    listening = audit(mosquitto)
    line = Line(parse_broker(mosquitto), "stranger", 5)
    assert line.call() is None
    for number in (1, 2, 4):
        line.publish(TOPIC, event(number))
    line.publish("phasewatch/n/g/window", b"a stranger's payload \x1b[31m")
    assert line.wait(lambda: len(line.answers) == 4, 60)
    assert listening.stderr is not None
    said = [listening.stderr.readline() for _ in range(2)]
    assert said[0] == f"gap: {SOURCE}: 3 passed over\n"
    assert said[1].startswith("violation: phasewatch/n/g/window: ")
    listening.send_signal(signal.SIGTERM)
    out, rest = listening.communicate(timeout=60)
    assert listening.returncode == 1
    assert (json.loads(out)["missing"], json.loads(out)["violations"]) == (1, 1)
    assert "Traceback" not in rest
    line.close()


def test_a_broker_that_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from edge.cli import main

    monkeypatch.setattr("edge.audit.ear.PATIENCE_S", 0.5)
    assert main(["audit", "--broker", "mqtt://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err == (
        "edge: mqtt://127.0.0.1:1: TCP: nobody answers at port 1: Connection refused; expected an MQTT broker; "
        "start the broker, or correct its port\n"
    )
