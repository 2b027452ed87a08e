"""Names that some library would take for an address or an option: files are found under the names they have."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from contracts.bundle.keys import generate_key
from edge.cli import main as edge
from edge.deliver.outbox import opened
from tests.recordings import ONE, ORDERED, copy_of
from trainer.cli import main as trainer

SECOND = ORDERED / "lab-q35-1" / "lab-q35-1-io-walk-s01"
PIECES = (
    *(b" ", b"%", b"%(prog)s", b";", b"\n", b"-x", b"\xff", b"s3:x", b"gs:", b"file:x?mode=memory", b":memory:", b"~"),
    *(b"$HOME", b"{}", b"#c", b"'", b'"', b"\\", b"\x1b[2J", "é".encode(), b"*", b"..", b"[x]"),
)
UGLY = st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map(b"".join).filter(lambda name: name.strip(b"."))


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def said(capfd: pytest.CaptureFixture[str]) -> bytes:
    """On standard output, since it was last asked."""
    return capfd.readouterr().out.encode()


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(UGLY)
@example(b"s3:bucket")
@example(b":memory:")
@example(b"-\xff\n%s")
def test_a_store_and_a_dataset_are_found_under_any_name(capfd: pytest.CaptureFixture[str], raw: bytes) -> None:
    name = os.fsdecode(raw)
    with tempfile.TemporaryDirectory() as folder, working_in(Path(folder)):
        for episode in (ONE, SECOND):
            copy_of(episode, Path(name))
        said(capfd)
        for _ in range(2):  # the second time there is an index to be read
            assert trainer(["validate", "--workers=1", "--json", "--", name]) == 0
            assert json.loads(said(capfd))["verdicts"]["accepted"] == 2
        assert trainer(["explain", "--json", "--", f"{name}/{ONE.parent.name}/{ONE.name}"]) == 0
        assert json.loads(said(capfd))["verdict"] == "accepted"
        for _ in range(2):
            assert trainer(["extract", "--workers=1", f"--out={name}.set", "--", name]) == 0
        assert (Path(f"{name}.set") / "dataset.json").exists()
        said(capfd)
        assert trainer(["describe", "--json", "--", f"{name}.set"]) == 0
        assert json.loads(said(capfd))["episodes"] == 2
        assert trainer(["split", "--held-out=lab-q35-1", "--json", "--", f"{name}.set"]) == 2
        assert {path.name for path in Path(folder).iterdir()} == {name, f"{name}.set"}


def test_a_page_is_written_under_a_name_that_is_ugly_in_every_way(capfd: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, working_in(Path(folder)):
        name = os.fsdecode(b"s3:".join(PIECES[:-3]))
        copy_of(ONE, Path("store"))
        assert trainer(["extract", "--workers=1", f"--out={name}", "--", "store"]) == 0
        assert trainer(["describe", "--", name]) == 0
        assert (Path(name) / "description.html").read_bytes().decode()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(UGLY)
@example(b":memory:")
@example(b"file:x?mode=memory")
def test_state_and_trust_are_found_under_any_name(capfd: pytest.CaptureFixture[str], raw: bytes) -> None:
    name = os.fsdecode(raw)
    with tempfile.TemporaryDirectory() as folder, working_in(Path(folder)):
        Path(name).mkdir()
        generate_key(Path(name) / "a.key")
        said(capfd)
        assert edge(["status", "--json", f"--state={name}", f"--trust={name}"]) == 0
        assert json.loads(said(capfd))["current"] is None
        assert edge(["status", f"--state={name}", f"--trust={name}.none"]) == 2
        lines = capfd.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("edge: ")
        assert "no such folder; expected a folder of public keys" in lines[0]


@settings(max_examples=30, deadline=None)
@given(UGLY)
@example(b":memory:")
@example(b"file:x?mode=memory")
def test_an_outbox_keeps_its_events_under_any_name(raw: bytes) -> None:
    name = os.fsdecode(raw)
    with tempfile.TemporaryDirectory() as folder, working_in(Path(folder)):
        for depth in (0, 1):
            with opened(Path(name)) as outbox:
                assert outbox.depth == depth
                outbox.put(source="s", event_id="e", topic="t", qos=1, retain=False, payload=b"")
        assert name in {path.name for path in Path(folder).iterdir()}


def test_a_dataset_whose_name_cannot_be_noted_down_is_refused_before_anything_is_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for episode in (ONE, SECOND):
        copy_of(episode, tmp_path / "store")
    with working_in(tmp_path):
        name = os.fsdecode(b"caf\xe9")
        assert trainer(["extract", "--workers=1", f"--out={name}", "store"]) == 0
        capfd.readouterr()
        assert trainer(["fit", "--out=out", "--", name]) == 2
        assert capfd.readouterr().err == (
            "trainer: caf\\xe9: the name '../caf\\\\xe9', from out; expected one of printable UTF-8, for fits.json; "
            "rename the folder\n"
        )
        assert not Path("out").exists()
