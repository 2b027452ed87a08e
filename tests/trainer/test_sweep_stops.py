"""What stops a sweep, or should not: interrupts, kills, dead workers, full disks, damaged ledgers."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.defects import DEFECTS
from tests.recordings import ONE
from tests.sweeping import codes, many, run
from trainer.sweep import examine as lens
from trainer.sweep import sweep as module
from trainer.sweep.catalogue import is_complete, read_index
from trainer.sweep.finding import Finding, fingerprint

ROOT = Path(__file__).parents[2]


def test_sweep_says_which_episode_took_its_worker_down(store: Path, tmp_path: Path) -> None:
    """A worker that is killed while it reads one episode (as for want of memory), each time it tries."""
    script = tmp_path / "sweep.py"
    script.write_text(
        "import os, sys\n"
        "from pathlib import Path\n"
        "from trainer.sweep import examine as lens\n"
        "from trainer.sweep.sweep import Sweep, sweep\n"
        "from trainer.workers.start import engine\n"
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
    assert run(store).verdicts == {"accepted": 1, "degraded": 0, "rejected": 299, "errored": 0}  # all the same rows
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
