"""The sweep: every planted defect is found and nothing else is, whatever happens to the sweep itself."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from contracts.errors import BusyError, DatasetError, MissingError, StorageError
from contracts.features import FeatureSchema
from contracts.telemetry.storage import locked
from tests.defects import DEFECTS
from tests.recordings import CORPUS, ONE, copy_of, edit_lines, edit_manifest
from trainer.corpus import examine as lens
from trainer.corpus import sweep as module
from trainer.corpus.catalogue import Census, is_complete, read_index, write_index
from trainer.corpus.examine import examine
from trainer.corpus.finding import VALIDATOR_VERSION, Finding, fingerprint, lost
from trainer.corpus.reasons import KINDS, page
from trainer.corpus.sweep import Sweep, sweep
from trainer.engine import engine

ROOT = Path(__file__).parents[2]


def run(store: Path, out: Path | None = None, workers: int = 1, **options: Any) -> Census:
    with engine(workers) as made:
        return sweep(Sweep(store=store, out=out or store / "index.parquet", **options), made)


def codes(finding: Finding) -> set[str]:
    return {reason.code for reason in finding.reasons}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three real episodes of three hosts."""
    for host, name in (("lab-q35-1", "io-walk-s01"), ("lab-q35-2", "io-walk-s01"), ("lab-microvm-1", "io-walk-s02")):
        copy_of(CORPUS / host / f"{host}-{name}", tmp_path / "store")
    return tmp_path / "store"


def test_every_real_episode_is_accepted(tmp_path: Path) -> None:
    census = run(CORPUS, tmp_path / "index.parquet", workers=2)
    assert census.verdicts == {"accepted": 44, "degraded": 0, "rejected": 0, "errored": 0}
    assert census.reasons == {}


@pytest.mark.parametrize("name", DEFECTS)
def test_examine_finds_a_planted_defect_and_nothing_else(spoiled: Path, name: str) -> None:
    defect = DEFECTS[name]
    defect.plant(spoiled)
    finding = examine(spoiled)
    assert (finding.verdict, codes(finding)) == (defect.verdict, set(defect.codes)), finding.reasons


def test_every_code_is_planted_somewhere() -> None:
    planted = frozenset().union(*(defect.codes for defect in DEFECTS.values()))
    assert planted | {"duplicate-copy", "duplicate-id", "worker-lost", "failed"} == KINDS.keys()


def test_reasons_page_is_made_from_the_codes() -> None:
    assert (ROOT / "docs" / "reasons.md").read_text() == page()


def test_examine_leaves_bad_netflow_unused_and_keeps_the_rest(spoiled: Path) -> None:
    DEFECTS["flow clock"].plant(spoiled)
    assert examine(spoiled).usable_sources == ("proc", "qmp", "guest")


def test_examine_sees_a_clock_that_stands_still(spoiled: Path) -> None:
    edit_lines(spoiled, "guest", lambda lines: [re.sub(rb'"t_mono_ns":\d+', b'"t_mono_ns":7', line) for line in lines])
    assert codes(examine(spoiled)) == {"clock-drift"}


def test_sweep_takes_the_worst_of_many_reasons(spoiled: Path) -> None:
    for name in ("gap", "exporter away", "file gone"):
        DEFECTS[name].plant(spoiled)
    finding = examine(spoiled)
    assert finding.verdict == "rejected"
    assert codes(finding) == {"gap", "netflow-silent", "file-missing"}


def test_sweep_rejects_all_but_one_of_identical_copies(store: Path) -> None:
    """The copy lies in a wrong folder, and earlier in the alphabet: the one in its place stays."""
    shutil.copytree(store / "lab-q35-2" / ONE.name, store / "a-host" / ONE.name)
    run(store)
    found = {finding.path: finding for finding in read_index(store / "index.parquet")}
    assert found[f"lab-q35-2/{ONE.name}"].verdict == "accepted"
    copy = found[f"a-host/{ONE.name}"]
    assert codes(copy) == {"misplaced", "duplicate-copy"}
    assert copy.reasons[-1].detail == f"the same as lab-q35-2/{ONE.name}"


def test_sweep_rejects_every_one_of_different_episodes_with_one_id_until_one_is_gone(
    store: Path, schema: FeatureSchema
) -> None:
    twin = store / "lab-q35-1" / ONE.name
    shutil.copytree(store / "lab-q35-2" / ONE.name, twin)
    edit_manifest(twin, lambda manifest: manifest.update(host_id="lab-q35-1"))
    assert run(store).reasons == {"duplicate-id": 2}
    shutil.rmtree(twin)
    assert run(store).verdicts["accepted"] == 3


def test_sweep_reads_only_what_has_changed_unless_full(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = lens._examined

    def noted(folder: Path, mark: str) -> Finding:
        read.append(folder.name)
        return whole(folder, mark)

    monkeypatch.setattr(lens, "_examined", noted)
    run(store)
    assert len(read) == 3
    first = (store / "index.parquet").read_bytes()
    run(store)
    assert len(read) == 3
    assert (store / "index.parquet").read_bytes() == first
    DEFECTS["flipped bit"].plant(store / "lab-q35-2" / ONE.name)
    assert run(store).verdicts["rejected"] == 1
    assert read[3:] == [ONE.name]
    run(store, full=True)
    assert len(read) == 7


def test_sweep_follows_no_link_to_a_host_or_an_episode(store: Path, tmp_path: Path) -> None:
    shutil.move(store / "lab-q35-1", tmp_path / "elsewhere")
    (store / "lab-q35-1").symlink_to(tmp_path / "elsewhere")
    (store / "lab-q35-2" / "linked").symlink_to(store / "lab-q35-2" / ONE.name)
    assert run(store).reasons == {"manifest-unreadable": 2}


def test_sweep_takes_names_that_are_no_text(store: Path) -> None:
    for name in (b"ep\xff", b"new\nline", b"quote'", b"[bold]"):
        shutil.copytree(store / "lab-q35-2" / ONE.name, store / "lab-q35-2" / os.fsdecode(name))
    census = run(store)
    assert census.episodes == 7
    assert census.reasons == {"misplaced": 4, "duplicate-copy": 4}
    assert "lab-q35-2/ep\\xff" in {finding.path for finding in read_index(store / "index.parquet")}
    assert run(store).episodes == 7


def test_sweep_counts_a_host_that_cannot_be_listed(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = os.scandir

    def refusing(path: Any) -> Any:
        if Path(path).name == "lab-q35-1":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refusing)
    census = run(store)
    assert census.verdicts == {"accepted": 2, "degraded": 0, "rejected": 0, "errored": 1}
    assert census.hosts["lab-q35-1"] == {"errored": 1}


def test_sweep_forgets_episodes_that_are_gone(store: Path) -> None:
    run(store)
    shutil.rmtree(store / "lab-q35-1")
    assert run(store).episodes == 2


def test_sweep_is_the_same_for_any_number_of_workers(store: Path, tmp_path: Path) -> None:
    for workers in (1, 2, 3):
        run(store, tmp_path / f"{workers}.parquet", workers=workers)
    indexes = {(tmp_path / f"{workers}.parquet").read_bytes() for workers in (1, 2, 3)}
    assert len(indexes) == 1


def test_sweep_refuses_a_second_one_on_the_same_index(store: Path) -> None:
    with locked(store / ".index.parquet.lock"), pytest.raises(BusyError, match="another process works here"):
        run(store)


def test_sweep_refuses_an_empty_store(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such folder; expected <host_id>/<episode_id>/episode.json"):
        run(tmp_path / "nowhere")
    (tmp_path / "store").mkdir()
    with pytest.raises(MissingError, match="an empty store; expected"):
        run(tmp_path / "store")


def test_sweep_goes_on_when_an_episode_is_unlike_anything(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = lens._examined

    def broken(folder: Path, mark: str) -> Finding:
        if folder.name == ONE.name:
            raise OSError(5, "Input/output error")
        return whole(folder, mark)

    monkeypatch.setattr(lens, "_examined", broken)
    census = run(store)
    assert census.verdicts == {"accepted": 2, "degraded": 0, "rejected": 0, "errored": 1}
    (bad,) = (finding for finding in read_index(store / "index.parquet") if finding.verdict == "errored")
    assert bad.reasons[0].detail == "OSError: Input/output error"


def test_sweep_says_which_episode_took_its_worker_down(store: Path, tmp_path: Path) -> None:
    """A worker that is killed while it reads one episode (as for want of memory), each time it tries."""
    script = tmp_path / "sweep.py"
    script.write_text(
        "import os, sys\n"
        "from pathlib import Path\n"
        "from trainer.corpus import examine as lens\n"
        "from trainer.corpus.sweep import Sweep, sweep\n"
        "from trainer.engine import engine\n"
        "whole = lens._examined\n"
        "def deadly(folder, mark):\n"
        f"    if folder.name == {ONE.name!r}:\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return whole(folder, mark)\n"
        "lens._examined = deadly\n"
        "if __name__ == '__main__':\n"
        "    store = Path(sys.argv[1])\n"
        "    with engine(2) as made:\n"
        "        plan = Sweep(store=store, out=store / 'index.parquet')\n"
        "        print(sweep(plan, made).verdicts)\n"
    )
    # workers of a forkserver import the main module anew, and so get the deadly lens too
    done = subprocess.run([sys.executable, str(script), str(store)], capture_output=True, text=True, check=True)
    assert "{'accepted': 2, 'degraded': 0, 'rejected': 0, 'errored': 1}" in done.stdout
    (bad,) = (finding for finding in read_index(store / "index.parquet") if finding.verdict == "errored")
    assert (bad.path, codes(bad)) == (f"lab-q35-2/{ONE.name}", {"worker-lost"})


def many(store: Path, number: int) -> None:
    """Clones of one episode."""
    for i in range(number):
        folder = store / "lab-q35-2" / f"clone-{i:03}"
        shutil.copytree(ONE, folder)
        folder.chmod(0o755)
        edit_manifest(folder, lambda manifest, name=folder.name: manifest.update(episode_id=name))  # type: ignore[misc] # the name is bound early


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_sweep_that_is_stopped_goes_on_where_it_was(tmp_path: Path, end: signal.Signals) -> None:
    store = tmp_path / "store"
    many(store, 300)
    command = [sys.executable, "-m", "trainer.cli", "validate", str(store), "--workers", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stderr
    for line in process.stderr:  # the first quarter is done
        if "75/300" in line:
            break
    process.send_signal(end)
    said = process.stderr.read()
    assert process.wait(60) == (130 if end == signal.SIGINT else -signal.SIGKILL)
    if end == signal.SIGINT:
        assert re.search(r"stopped: \S+ holds \d+ of 300 episodes; run it again to go on", said)
        assert not is_complete(store / "index.parquet")
        done = sum(1 for _ in read_index(store / "index.parquet"))
        assert 75 <= done < 300
    else:
        assert not (store / "index.parquet").exists()
    assert (store / ".index.parquet.ledger").exists()
    assert run(store).verdicts["accepted"] == 300
    assert is_complete(store / "index.parquet")
    assert not list(store.glob(".*ledger*"))


def test_sweep_stopped_at_once_says_nothing_of_what_it_has_not_looked_at(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier index is there; one episode has gone since, one was spoiled. What is known of them is not repeated."""
    run(store)
    shutil.rmtree(store / "lab-q35-1")
    DEFECTS["flipped bit"].plant(store / "lab-q35-2" / ONE.name)
    whole = fingerprint

    def stopping(folder: Path) -> str:
        if folder.name == ONE.name:
            raise KeyboardInterrupt
        return whole(folder)

    monkeypatch.setattr(module, "fingerprint", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(store)
    assert [finding.path.partition("/")[0] for finding in read_index(store / "index.parquet")] == ["lab-microvm-1"]
    monkeypatch.undo()
    assert run(store).verdicts == {"accepted": 1, "degraded": 0, "rejected": 1, "errored": 0}


def test_sweep_reads_again_what_may_have_been_the_machines_fault(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path, mark: str) -> Finding:
        raise MemoryError

    monkeypatch.setattr(lens, "_examined", broken)
    assert run(store).reasons == {"failed": 3}
    monkeypatch.undo()
    assert run(store).verdicts["accepted"] == 3


@pytest.mark.parametrize("damage", ["page", "text"])
def test_sweep_starts_afresh_when_its_ledger_is_damaged(
    store: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(module, "_finish", killed)
        with pytest.raises(ZeroDivisionError):
            run(store)
    ledger = store / ".index.parquet.ledger"
    data = bytearray(ledger.read_bytes())
    ledger.write_bytes(b"hello" if damage == "text" else bytes(data[:4096]) + b"\xff" * (len(data) - 4096))
    assert run(store).verdicts["accepted"] == 3


def test_a_full_sweep_that_was_killed_goes_on_and_does_not_take_another_sweeps_word(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    whole = lens._examined

    def noted(folder: Path, mark: str) -> Finding:
        read.append(folder.name)
        return whole(folder, mark)

    def killed(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(lens, "_examined", noted)
    for full, expected in ((False, 3), (True, 6), (True, 6)):  # the ledger of the first is no good for the second
        with monkeypatch.context() as patch:
            patch.setattr(module, "_finish", killed)
            with pytest.raises(ZeroDivisionError):
                run(store, full=full)
        assert len(read) == expected
    run(store, full=True)
    assert len(read) == 6


def test_sweep_resumed_reads_only_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger as a killed sweep leaves it: what it holds is not read again."""
    store = tmp_path / "store"
    many(store, 40)
    read: list[int] = []
    whole = module.examine_all

    class Killed(BaseException):
        pass

    def dying(folders: list[Path]) -> list[Finding]:
        if read and sum(read) >= 32 and len(read) < 3:
            raise Killed
        read.append(len(folders))
        return whole(folders)

    monkeypatch.setattr(module, "examine_all", dying)
    with pytest.raises(Killed):
        run(store)
    assert (store / ".index.parquet.ledger").exists()
    read[:] = [0, 0, 0]
    run(store)
    assert sum(read) == 8
    assert is_complete(store / "index.parquet")


def test_sweep_leaves_the_old_index_when_the_disk_is_full(store: Path) -> None:
    """A limit on file sizes fails a write as a full disk does (EFBIG in place of ENOSPC)."""
    run(store)
    before = (store / "index.parquet").read_bytes()
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000));"
        "from trainer.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "validate", str(store), "--full", "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "cannot be written" in done.stderr.splitlines()[-1]
    assert (store / "index.parquet").read_bytes() == before


def test_index_that_cannot_be_written_is_one_line(store: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        run(store, tmp_path / "file" / "index.parquet")


def test_index_holds_what_the_sweep_found(store: Path) -> None:
    DEFECTS["no netflow"].plant(store / "lab-q35-2" / ONE.name)
    run(store)
    table = pq.read_table(store / "index.parquet").to_pylist()
    assert [row["path"] for row in table] == sorted(row["path"] for row in table)
    (row,) = (row for row in table if row["episode_id"] == ONE.name)
    assert row["verdict"] == "degraded"
    assert row["reasons"] == [{"code": "source-missing", "source": "netflow", "detail": "no file of it"}]
    assert row["rows_netflow"] is None
    assert row["rows_proc"] == 1258
    assert row["seconds_proc"] == pytest.approx(125.9, abs=0.1)
    assert row["usable_sources"] == ["proc", "qmp", "guest"]
    assert row["validator_version"] == VALIDATOR_VERSION
    assert re.fullmatch(r"[0-9a-f]{64}", row["content_sha256"])


def test_index_goes_through_parquet_unchanged(tmp_path: Path, spoiled: Path) -> None:
    DEFECTS["nothing observed"].plant(spoiled)
    findings = [examine(spoiled), lost(spoiled)]
    write_index(tmp_path / "i", findings, complete=True)
    assert list(read_index(tmp_path / "i")) == findings


def test_index_that_is_none_is_refused(tmp_path: Path, store: Path) -> None:
    with pytest.raises(MissingError, match="no such file; expected an index; make one with `trainer validate STORE`"):
        list(read_index(tmp_path / "none"))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(DatasetError, match="not Parquet .*; expected an index; choose another file"):
        list(read_index(tmp_path / "text"))
    pq.write_table(pq.read_table(_index_of(store)).select(["path"]), tmp_path / "other")
    with pytest.raises(DatasetError, match="another kind of Parquet file"):
        list(read_index(tmp_path / "other"))


def _index_of(store: Path) -> Path:
    run(store)
    return store / "index.parquet"


@pytest.mark.parametrize("full", [False, True])
def test_sweep_does_not_replace_a_file_that_is_no_index(store: Path, full: bool) -> None:
    (store / "index.parquet").write_text("my notes")
    with pytest.raises(DatasetError, match="not Parquet .*; expected an index; choose another file, or remove it"):
        run(store, full=full)
    assert (store / "index.parquet").read_text() == "my notes"
