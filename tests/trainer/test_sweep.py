"""The sweep: every planted defect is found and nothing else is, whatever happens to the sweep itself."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from contracts.errors import BusyError, DatasetError, MissingError, StorageError
from contracts.features.schema import FeatureSchema
from contracts.files import locked
from tests.defects import DEFECTS
from tests.recordings import ONE, ORDERED, edit_lines, rename
from tests.sweeping import codes, run
from trainer.sweep import examine as lens
from trainer.sweep.catalogue import read_index, write_index
from trainer.sweep.examine import examine
from trainer.sweep.explain import in_words
from trainer.sweep.finding import Finding, lost
from trainer.sweep.reasons import KINDS, page
from trainer.versions import VALIDATOR_VERSION

ROOT = Path(__file__).parents[2]


def test_every_earlier_episode_is_accepted(tmp_path: Path) -> None:
    census = run(ORDERED, tmp_path / "index.parquet", workers=2)
    assert census.verdicts == {"accepted": 12, "degraded": 0, "rejected": 0, "errored": 0}
    assert census.reasons == {}


@pytest.mark.parametrize("name", DEFECTS)
def test_examine_finds_a_planted_defect_and_nothing_else(spoiled: Path, name: str) -> None:
    defect = DEFECTS[name]
    defect.plant(spoiled)
    finding = examine(spoiled)
    assert (finding.verdict, codes(finding)) == (defect.verdict, set(defect.codes)), finding.reasons


def test_every_code_is_planted_somewhere() -> None:
    planted = frozenset().union(*(defect.codes for defect in DEFECTS.values()))
    assert planted | {"duplicate-copy", "duplicate-id", "duplicate-rows", "worker-lost", "failed"} == KINDS.keys()


def test_reasons_page_is_made_from_the_codes() -> None:
    assert (ROOT / "docs" / "reasons.md").read_text() == page()


def test_examine_counts_the_windows_that_do_not_believe_netflow_and_keeps_the_rest(spoiled: Path) -> None:
    DEFECTS["flow starts by uptime"].plant(spoiled)
    finding = examine(spoiled)
    assert finding.usable_sources == ("proc", "qmp", "guest")  # no window believes it
    assert finding.sources["netflow"].seconds == 0
    (reason,) = finding.reasons
    assert (reason.code, reason.source) == ("netflow-clock", "netflow")
    assert reason.detail == f"in {finding.windows} of {finding.windows} windows"


def test_explain_names_the_clock_and_says_what_to_do_when_it_was_set_back(spoiled: Path) -> None:
    DEFECTS["clock set back"].plant(spoiled)
    said = list(in_words(examine(spoiled)))
    found = "labels.jsonl.zst:3: infecting: the wall clock was set back by 30.000 s since the label before it"
    (at,) = (i for i, line in enumerate(said) if line == f"  rejected clock-wrong: labels: {found}")
    assert said[at + 1].endswith("Wait for the clock to be set (by NTP, say), then record it again.")


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
    rename(twin, host_id="lab-q35-1")
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
