"""Terminals that are not UTF-8, readers that go away, streams that are closed or full: the work and its status stay."""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.features.schema import FeatureSchema
from edge.deliver.outbox import opened
from tests.bundles import make_bundle
from tests.recordings import ONE, copy_of, edit_row
from tests.streams import (
    ENCODINGS,
    HELPS,
    Words,
    command,
    ended,
    ended_in_turn,
    environment,
    in_shell,
    without_reader,
)

NOWHERE = "mqtt://127.0.0.1:1"
PROGRAMS = ("edge.cli", "trainer.cli", "trainer.demo.__main__", "contracts.events.documents", "trainer.sweep.reasons")


@pytest.fixture
def place(tmp_path: Path) -> bytes:
    """A folder whose name is neither ASCII nor UTF-8."""
    path = os.fsencode(tmp_path / "mé…") + b"\xff"
    Path(os.fsdecode(path)).mkdir()
    return path


def stored(folder: Path, *, spoiled: bool = False) -> Path:
    """A store of one real episode."""
    episode = copy_of(ONE, folder / "store")
    if spoiled:
        edit_row(episode, "proc", 5, lambda row: row.update(utime="12"))
    return folder / "store"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_help_is_printed_on_a_terminal_that_is_not_utf8(program: str, encoding: str) -> None:
    status, out, err = ended([sys.executable, "-c", HELPS, program], encoding=encoding)
    assert status == 0, err
    said = re.findall(r"^help of (.*): (\d+)$", err, flags=re.MULTILINE)
    assert {status for _, status in said} == {"0"}
    assert out.count("usage: ") == len(said) == len(err.splitlines())
    assert out.count("\\u") == 0, "a character of ours has no plain form"


def names(text: str, encoding: str) -> bool:
    """Whether `place` is shown, as well as the terminal can."""
    forms = {"ascii": ["m\\xe9...\\xff"], "latin-1": ["mé...\\xff", "m\\xe9...\\xff"]}
    forms["C"] = [*forms["ascii"], "m\\xc3\\xa9\\xe2\\x80\\xa6\\xff"]
    return any(form in text for form in forms[encoding])


def every_command(program: str) -> set[str]:
    _, _, err = ended([sys.executable, "-c", HELPS, f"{program}.cli"])
    return set(re.findall(r"^help of (.+): 0$", err, flags=re.MULTILINE))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_trainer_command_works_on_a_terminal_that_is_not_utf8(place: bytes, encoding: str) -> None:
    store, data = os.fsencode(stored(Path(os.fsdecode(place)))), place + b"/data"
    steps: list[tuple[int, Words]] = [
        (0, ["validate", store, "--workers", "1"]),
        (0, ["explain", store + b"/lab-q35-2/" + os.fsencode(ONE.name)]),
        (2, ["label", store]),
        (0, ["extract", store, "--out", data, "--workers", "2"]),
        (0, ["describe", data]),
        (2, ["split", data]),
        (0, ["keygen", place + b"/new.key"]),
        (2, ["evaluate", place + b"/none"]),
        (2, ["report", place + b"/none"]),
        (2, ["inspect", place + b"/none"]),
        (2, ["fit", place + b"/none", "--out", place + b"/out"]),
        (2, ["build", place + b"/none", "--out", place + b"/out", "--unsigned"]),
        (2, ["diff", place + b"/none", place + b"/none"]),
        (2, ["judge", place + b"/none", store]),
    ]
    assert {str(words[0]) for _, words in steps} == every_command("trainer")
    said = ended_in_turn("trainer", [words for _, words in steps], encoding)
    for (wanted, words), (status, out, err) in zip(steps, said, strict=True):
        assert (status, "Traceback" in err) == (wanted, False), (words, err)
        assert names(out + err, encoding) or words[0] in ("explain", "split"), (words, out, err)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_edge_command_works_on_a_terminal_that_is_not_utf8(
    place: bytes, encoding: str, schema: FeatureSchema, signing_key: Path
) -> None:
    made = [make_bundle(Path(os.fsdecode(place)), schema, signing_key, favourite) for favourite in range(2)]
    site: Words = ["--state", place + b"/state", "--trust", signing_key.parent]
    replay: Words = ["replay", ONE, "--broker", NOWHERE, "--drain-timeout", "0", "--outbox", place + b"/o", *site]
    steps: list[tuple[int, Words]] = [
        (2, ["self-test", place + b"/none", *site]),
        (0, ["install", made[0], *site]),
        (0, ["install", made[1], "--shadow", *site]),
        (0, ["status", *site]),
        (0, ["promote", *site]),
        (0, ["rollback", *site]),
        (2, ["dismiss", *site]),
        (1, replay),
        (2, ["outbox", "list", "--outbox", place + b"/none"]),
        (2, ["check-config", place + b"/none"]),
        (2, ["run", "--config", place + b"/none"]),
        (2, ["record", "--config", place + b"/none", "--out", place + b"/s"]),
        (2, ["mark", "clean", "--config", place + b"/none"]),
        (2, ["lab", "run", "--recipe", place + b"/none", "--out", place + b"/s"]),
        (2, ["lab", "plan", "--recipe", place + b"/none"]),
        (1, ["doctor", "--config", place + b"/none"]),
        (2, ["audit", "--broker", NOWHERE, "--password-file", place + b"/none"]),
        (2, ["forget", "n/g", "--broker", NOWHERE, "--password-file", place + b"/none"]),
        (2, ["dashboard", "--broker", NOWHERE, "--login-file", place + b"/none"]),
    ]
    verbs = {" ".join(map(str, words[:2])) if words[0] == "lab" else str(words[0]) for _, words in steps}
    assert verbs | {"lab"} == every_command("edge")
    said = ended_in_turn("edge", [words for _, words in steps], encoding)
    for (wanted, words), (status, out, err) in zip(steps, said, strict=True):
        assert (status, "Traceback" in err) == (wanted, False), (words, err)
        if wanted:
            assert names(err or out, encoding), err or out


def test_json_is_utf8_whatever_the_names_in_it(place: bytes) -> None:
    store = os.fsencode(stored(Path(os.fsdecode(place))))
    strange = store + b"/lab-q35-2/ep\xff"
    Path(os.fsdecode(strange)).mkdir()
    cases: list[tuple[int, str, Words]] = [
        (0, "edge", ["status", "--json", "--state", place + b"/state"]),
        (1, "trainer", ["validate", "--json", store]),
        (1, "trainer", ["explain", "--json", strange]),
        (0, "trainer", ["extract", store, "--out", place + b"/set"]),
        (0, "trainer", ["describe", "--json", place + b"/set"]),
    ]
    for status, program, words in cases:
        done = subprocess.run(command(program, *words), check=False, capture_output=True, env=environment())
        assert done.returncode == status, done.stderr
        if "--json" in words:
            found = json.loads(done.stdout.decode())
            assert found.get("path", "lab-q35-2/ep\\xff") == "lab-q35-2/ep\\xff"
            assert found.get("state", "…\\xff/state").endswith("…\\xff/state")


def test_work_is_done_and_its_status_kept_when_nobody_reads_the_progress(tmp_path: Path) -> None:
    store = stored(tmp_path)
    extract = command("trainer", "extract", store, "--out", tmp_path / "set", "--workers", "2")
    status, out = without_reader(extract, "stderr")
    assert (status, (tmp_path / "set" / "dataset.json").exists()) == (0, True)
    assert re.search(r"^.*: 23 windows in 1 shards", out)
    assert without_reader(command("trainer", "validate", stored(tmp_path / "bad", spoiled=True)), "stderr")[0] == 1
    assert without_reader(command("trainer", "validate", tmp_path / "none"), "stderr") == (2, "")
    replay = command("edge", "replay", ONE, "--bundle", "none", "--broker", NOWHERE)
    assert without_reader(replay, "stderr") == (2, "")


def test_replay_with_the_broker_away_ends_with_1_when_nobody_reads_its_log(
    tmp_path: Path, schema: FeatureSchema, signing_key: Path
) -> None:
    bundle = make_bundle(tmp_path, schema, signing_key)
    where: Words = [
        "--bundle",
        bundle,
        "--trust",
        signing_key.parent,
        "--outbox",
        tmp_path / "o",
        "--drain-timeout",
        "0",
    ]
    assert without_reader(command("edge", "replay", ONE, "--broker", NOWHERE, *where), "stderr") == (1, "")
    with opened(tmp_path / "o") as outbox:
        assert outbox.depth > 20


def test_work_is_done_and_its_status_kept_when_nobody_reads_the_output(tmp_path: Path) -> None:
    store, spoiled = stored(tmp_path), stored(tmp_path / "bad", spoiled=True)
    extract = command("trainer", "extract", store, "--out", tmp_path / "set", "--workers", "2")
    assert without_reader(extract, "stdout")[0] == 0
    assert (tmp_path / "set" / "dataset.json").exists()
    cases: list[tuple[int, Words]] = [
        (0, ["describe", tmp_path / "set"]),
        (0, ["describe", tmp_path / "set", "--json"]),
        (0, ["--help"]),
        (0, ["explain", store / "lab-q35-2" / ONE.name]),
        (1, ["explain", spoiled / "lab-q35-2" / ONE.name]),
        (1, ["validate", spoiled]),
    ]
    for status, words in cases:
        found, err = without_reader(command("trainer", *words), "stdout")
        assert (found, "Traceback" in err, "Broken pipe" in err) == (status, False, False), err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_commands_work_with_standard_streams_closed(tmp_path: Path, closed: str) -> None:
    store, spoiled = stored(tmp_path), stored(tmp_path / "bad", spoiled=True)
    cases: list[tuple[int, str, Words]] = [
        (0, "trainer", ["--help"]),
        (1, "trainer", ["explain", spoiled / "lab-q35-2" / ONE.name]),
        (0, "trainer", ["extract", store, "--out", tmp_path / "set", "--workers", "2"]),
        (0, "edge", ["status", "--state", tmp_path]),
        (2, "edge", ["replay"]),
    ]
    if closed.count("&-") > 1:  # the others start workers, or say as much, as these do
        cases += [
            (0, "trainer", ["validate", store, "--workers", "2"]),
            (1, "trainer", ["validate", spoiled, "--json"]),
            (2, "trainer", ["fit", tmp_path / "set", "--out", tmp_path / "out", "--workers", "1"]),
        ]
    for status, program, words in cases:
        found, _, err = in_shell(closed, command(program, *words))
        assert (found, "Traceback" in err, "Exception" in err) == (status, False, False), (words, err)


@pytest.mark.parametrize("words", [["--help"], ["explain", ONE], ["explain", ONE, "--json"]])
def test_output_that_cannot_be_written_is_a_fault_in_one_line(words: Words) -> None:
    status, _, err = in_shell(">/dev/full", command("trainer", *words))
    assert status == 1
    assert err == (
        "trainer: standard output: cannot be written (No space left on device); expected room for what is said; "
        "free some space, or send it elsewhere\n"
    )


def test_errors_that_cannot_be_said_stop_no_work(tmp_path: Path) -> None:
    extract = command("trainer", "extract", stored(tmp_path), "--out", tmp_path / "set", "--workers", "1")
    status, out, _ = in_shell("2>/dev/full", extract)
    assert (status, (tmp_path / "set" / "dataset.json").exists()) == (0, True)
    assert "23 windows" in out


def test_output_waits_for_a_terminal_that_somebody_made_non_blocking(tmp_path: Path) -> None:
    there, here = os.pipe()
    os.set_blocking(here, False)
    assert fcntl.fcntl(here, fcntl.F_SETPIPE_SZ, 4096) < 5000  # a fraction of what is to be said
    words = command("trainer", "describe", "--json", tmp_path / "set")
    assert ended(command("trainer", "extract", stored(tmp_path), "--out", tmp_path / "set"))[0] == 0
    with subprocess.Popen(words, stdout=here, stderr=subprocess.PIPE, env=environment()) as process:
        os.close(here)
        with os.fdopen(there, "rb") as reading:
            assert json.loads(reading.read())["episodes"] == 1
        assert (process.wait(60), process.communicate()[1]) == (0, b"")


@pytest.mark.parametrize("python", ["/nonexistent/python", "/bin/false", "/dev/null"])
def test_workers_that_cannot_be_started_are_a_fault(tmp_path: Path, python: str) -> None:
    """As for a user who may not run the interpreter."""
    store = stored(tmp_path)
    script = (
        f"import multiprocessing, sys; multiprocessing.set_executable({python!r});"
        "from trainer.cli import main; sys.exit(main())"
    )
    cases: list[Words] = [["validate", store], ["extract", store, "--out", tmp_path / "set"]]
    for words in cases:
        status, _, err = ended([sys.executable, "-c", script, *words, "--workers", "2"])
        assert status == 1, err
        assert "Traceback" not in err
        assert re.search(
            r"^trainer: workers: cannot be started \(.*\); expected .*; use --workers 1$", err, re.MULTILINE
        )
