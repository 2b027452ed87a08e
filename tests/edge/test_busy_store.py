"""An outbox whose file cannot be written for a while: nothing is lost or sent twice, and the cause is named."""

from __future__ import annotations

import logging
import re
import sqlite3
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.bundle.keys import load_trusted_keys
from contracts.errors import StorageError
from contracts.features.schema import FeatureSchema
from contracts.shell.broker import parse_broker
from edge.deliver.drain import Drain
from edge.deliver.outbox import HELD, Outbox, opened
from edge.deliver.rows import Bounds
from edge.model.models import Fixed
from edge.model.opened import activate
from edge.session import replayed as session
from tests.bundles import make_bundle
from tests.edge.fake_line import Quick
from tests.edge.holding import Holder
from tests.edge.test_outbox import put
from tests.edge.test_publisher import Cutting
from tests.recordings import ONE

pytestmark = pytest.mark.timeout(120)
LOCKED = r"o: database is locked; events are held in memory until it has passed"
NOTHING_GOES_ON = "nothing goes on without it now; waiting for up to"


def payloads(outbox: Outbox) -> list[bytes]:
    return [message.payload for message in outbox.pending(1_000_000)]


def numbers(first: int, last: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, last)]


@contextmanager
def when_logged(line: str, act: Callable[[], None]) -> Iterator[None]:
    """Act, in another thread, as soon as the log says so."""
    said = threading.Event()

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if line in record.getMessage():
                said.set()

    def listen() -> None:
        said.wait()
        act()

    handler, thread = Listening(), threading.Thread(target=listen)
    logging.getLogger("edge").addHandler(handler)
    thread.start()
    try:
        yield
    finally:
        said.set()
        thread.join()
        logging.getLogger("edge").removeHandler(handler)


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


# Without a write-ahead log, as on file systems without shared memory, readers and writers wait for each other too.
@pytest.mark.parametrize(("journal", "how"), [("WAL", "writing"), ("DELETE", "writing"), ("DELETE", "reading")])
def test_events_put_while_another_program_holds_the_file_are_stored_once_and_in_order_when_it_lets_go(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, journal: str, how: Literal["reading", "writing"]
) -> None:
    with opened(tmp_path / "o") as outbox:
        outbox._db.execute(f"PRAGMA journal_mode = {journal}")
        for number in range(5):
            put(outbox, number)
        with Holder(tmp_path / "o", how):
            for number in (*range(5, 24), 7):
                put(outbox, number)
            assert outbox.depth == 24
        outbox.flush()
        assert payloads(outbox) == numbers(0, 24)
        assert outbox.depth == 24
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 or journal == "DELETE"
    assert re.search(LOCKED, said[0])
    assert re.search(r"o: that passed after \d+\.\d s; 20 events were held", "\n".join(said))


@pytest.mark.parametrize(
    "call",
    [
        lambda outbox: outbox.pending(1),
        lambda outbox: outbox.wait(0.01),
        lambda outbox: outbox.remove([]),
        lambda outbox: outbox.retained(),
        lambda outbox: put(outbox, 1),
    ],
    ids=["pending", "wait", "remove", "retained", "put"],
)
def test_held_events_are_stored_by_whatever_call_comes_after_the_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, call: Callable[[Outbox], object]
) -> None:
    with opened(tmp_path / "o") as outbox:
        with Holder(tmp_path / "o"):
            put(outbox, 1)
        while "that passed after" not in caplog.text:
            call(outbox)
        assert payloads(outbox) == [b"1"]


def test_put_names_the_lock_when_it_outlasts_memory_and_patience(tmp_path: Path) -> None:
    tracemalloc.start()
    with pytest.raises(StorageError) as refusal, opened(tmp_path / "o", patience_s=0.3) as outbox:
        put(outbox, 0)
        with Holder(tmp_path / "o"):
            for number in range(2 * HELD):
                outbox.put(source="s", event_id=str(number), topic="t", qos=1, retain=False, payload=bytes(1400))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert outbox.depth == 1 + HELD
    assert most < 16 << 20
    assert re.fullmatch(
        r".*/o: database is locked for \d+\.\d s; expected an outbox that can be written; "
        "find the program that holds it with fuser or lsof, and wait for it or end it",
        str(refusal.value),
    )
    with opened(tmp_path / "o") as outbox:
        assert payloads(outbox)[0] == b"0"


def test_close_waits_for_a_file_that_is_held(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "o")
    with Holder(tmp_path / "o") as holder, when_logged(NOTHING_GOES_ON, holder.release):
        for number in range(3):
            put(outbox, number)
        outbox.close()
    with opened(tmp_path / "o") as outbox:
        assert payloads(outbox) == numbers(0, 3)


def test_close_says_how_many_events_are_lost_when_the_lock_outlasts_patience(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(tmp_path / "o", patience_s=0.2)
    with Holder(tmp_path / "o"):
        for number in range(3):
            put(outbox, number)
        with pytest.raises(StorageError, match=r"o: database is locked for .* fuser or lsof"):
            outbox.close()
    assert "o: 3 events could not be stored and are lost" in caplog.text


def test_opening_waits_for_a_file_that_is_held(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        Holder(tmp_path / "o") as holder,
        when_logged("o: database is locked; waiting for it", holder.release),
        opened(tmp_path / "o") as outbox,
    ):
        put(outbox, 1)
        assert payloads(outbox) == [b"1"]
    assert re.search(r"o: that passed after \d+\.\d s\n", caplog.text)


def test_opening_names_the_lock_when_it_outlasts_patience(tmp_path: Path) -> None:
    with (
        Holder(tmp_path / "o"),
        pytest.raises(StorageError, match=r"o: database is locked for .* find the program that holds it"),
        opened(tmp_path / "o", patience_s=0.2),
    ):
        pass


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_the_drain_goes_on_and_sends_nothing_twice_when_the_file_is_held_as_it_removes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, journal: str
) -> None:
    holders = ExitStack()

    class Unlucky(Quick):
        def arrived(self, payload: bytes) -> None:
            if not self.sent:
                holders.enter_context(Holder(tmp_path / "o"))
            super().arrived(payload)

    with opened(tmp_path / "o") as outbox:
        outbox._db.execute(f"PRAGMA journal_mode = {journal}")
        put(outbox, 0)
        publisher = Unlucky()
        drain = Drain(outbox, publisher, lambda _: None)
        while outbox.depth:  # what was acknowledged waits no more, whether or not it could be removed
            outbox.wait(0.1)
        for number in range(1, 500):
            put(outbox, number)
        assert publisher.sent == [b"0"]
        holders.close()
        assert drain.wait_empty(60)
        drain.stop()
        assert drain.fault is None
    assert publisher.sent == numbers(0, 500)
    with opened(tmp_path / "o") as outbox:
        assert outbox.depth == 0


def test_what_was_acknowledged_while_the_file_was_held_is_removed_by_close(tmp_path: Path) -> None:
    with opened(tmp_path / "o") as outbox:
        put(outbox, 0)
        with Holder(tmp_path / "o"):
            outbox.remove(outbox.pending(1))
            assert (outbox.depth, outbox.pending(1)) == (0, [])
    with opened(tmp_path / "o") as outbox:
        assert outbox.depth == 0


def test_wait_empty_names_the_lock_when_the_broker_is_not_the_reason(tmp_path: Path) -> None:
    with opened(tmp_path / "o", patience_s=0.2) as outbox:
        with Holder(tmp_path / "o"):
            drain = Drain(outbox, Quick(), lambda _: None)
            put(outbox, 0)
            with pytest.raises(StorageError, match=r"o: database is locked for "):
                drain.wait_empty(60)
        assert drain.wait_empty(60)
        drain.stop()


def test_retained_leaves_out_what_is_held(tmp_path: Path) -> None:
    with opened(tmp_path / "o") as outbox:
        put(outbox, 0, retain=True)
        outbox.remove(outbox.pending(1))
        assert outbox.retained() == [("t/0", b"0")]
        with Holder(tmp_path / "o"):
            put(outbox, 3, retain=True)
            assert outbox.retained() == []
        outbox.flush()
        outbox.remove(outbox.pending(1))
        assert outbox.retained() == [("t/0", b"3")]


def test_a_process_killed_while_it_holds_events_loses_those_alone(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from edge.deliver.outbox import Outbox\n"
        "o = Outbox(Path(sys.argv[1]))\n"
        "def put(*numbers):\n"
        "    for n in range(*numbers):\n"
        "        o.put(source='s', event_id=str(n), topic='t', qos=1, retain=False, payload=b'%d' % n)\n"
        "    print(o.depth, flush=True); sys.stdin.readline()\n"
        "put(0, 50)\n"
        "put(50, 90)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "o")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "50\n"
        with Holder(tmp_path / "o"):
            child.stdin.write("\n")
            child.stdin.flush()
            assert child.stdout.readline() == "90\n"
            child.kill()
            child.wait()
    with opened(tmp_path / "o") as outbox:
        assert outbox._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert payloads(outbox) == numbers(0, 50)
        put(outbox, 50)
        assert payloads(outbox) == numbers(0, 51)


Step = tuple[int, int, bool] | str
STEPS = st.lists(
    st.one_of(st.tuples(st.integers(0, 9), st.integers(0, 1), st.booleans()), st.sampled_from(["lock", "unlock"])),
    max_size=30,
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_an_outbox_that_was_locked_now_and_then_ends_as_one_that_never_was(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    folder = tmp_path_factory.mktemp("boxes")

    def after(name: str, *, locks: bool) -> tuple[object, ...]:
        with (
            opened(folder / name, Bounds(events=4)) as outbox,
            closing(sqlite3.connect(folder / name, isolation_level=None)) as other,
        ):
            for step in steps:
                if isinstance(step, tuple):
                    number, qos, retain = step
                    put(outbox, number, qos=qos, retain=retain)
                elif locks and (step == "lock") != other.in_transaction:
                    other.execute("BEGIN IMMEDIATE" if step == "lock" else "ROLLBACK")
        with opened(folder / name, Bounds(events=4)) as outbox:
            kept = [(one.topic, one.qos, one.retain, one.payload) for one in outbox.pending(99)]
            return kept, outbox.retained(), outbox.dropped, outbox.depth

    assert after("a", locks=True) == after("b", locks=False)


def replayed(tmp_path: Path, schema: FeatureSchema, signing_key: Path) -> set[bytes]:
    """What a broker gets of a replay, less what was measured."""
    bundle = activate(make_bundle(tmp_path, schema, signing_key, 0), schema, load_trusted_keys(signing_key.parent))
    broker = Cutting(-1)
    broker.start()
    session.replay_all(
        episodes=[ONE], models=Fixed(bundle), broker=parse_broker(f"mqtt://127.0.0.1:{broker.port}"), schema=schema,
        allow_missing=False, speed=None, node="n", outbox_path=tmp_path / "o", drain_timeout=30,
    )  # fmt: skip
    said = {payload for payload in broker.got if b"perf" not in payload and payload[:1] == b"{"}
    return {re.sub(rb'"sequence":"\d+"', b"", payload) for payload in said}  # it goes on from one to the next


def test_a_replay_whose_outbox_is_held_for_a_while_loses_nothing(
    tmp_path: Path, schema: FeatureSchema, signing_key: Path
) -> None:
    whole = replayed(tmp_path, schema, signing_key)
    assert len(whole) > 20
    with Holder(tmp_path / "o") as holder, when_logged(NOTHING_GOES_ON, holder.release):
        assert replayed(tmp_path, schema, signing_key) == whole


def test_a_replay_whose_outbox_stays_held_names_the_lock(
    tmp_path: Path, schema: FeatureSchema, signing_key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "opened", partial(opened, patience_s=0.5))
    with opened(tmp_path / "o"):
        pass
    with (
        Holder(tmp_path / "o"),
        pytest.raises(StorageError, match=r"o: database is locked for .* find the program that holds it with fuser"),
    ):
        replayed(tmp_path, schema, signing_key)
