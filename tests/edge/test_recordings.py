"""What is recorded is whole after a power cut, bounded, and never worth the watch."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import BusyError, RowError
from contracts.features.schema import SECOND
from contracts.telemetry.episode import DRAFT, Episode, read_episode, read_manifest
from contracts.telemetry.parts import watch_part
from contracts.telemetry.rows import Row
from contracts.telemetry.zstd import compress, whole_frames
from contracts.vocabulary import Source
from edge.record.bounded import Bounded, Bounds
from edge.record.evidence import EvidenceKeeper
from edge.record.frames import batch_of
from edge.record.keeper import _hand_over
from edge.record.part import whole_again
from edge.record.tee import AGAIN_NS, Tee
from edge.record.writer import MOST_WAITING, Writer
from edge.watch.subject import Subject

START = 1_795_368_400 * SECOND
SOURCES: tuple[Source, ...] = ("proc", "netflow")
SUBJECT = Subject(
    mode="live", host_id="h", guest_id="g", episode_id="g-watch", guest_addresses=frozenset({"10.77.0.2"}),
    sources=SOURCES, started_wall_ns=START,
)  # fmt: skip


def tee_in(store: Path, *, most_bytes: int = 1 << 30, age_s: int | None = None, part_s: int = 3600) -> Tee:
    bounds = Bounds(bytes=most_bytes, age_ns=None if age_s is None else age_s * SECOND)
    return Tee(Bounded(store, "watch", bounds), SUBJECT, {}, "phasewatch edge test", part_s * SECOND)


def rows_at(episode: Episode, second: float, count: int = 50) -> dict[Source, list[Row]]:
    """Five seconds of rows."""
    base = START + round(second * SECOND)
    rows = episode.rows["proc"][:count]
    moved = [msgspec.structs.replace(row, t_wall_ns=base + i * SECOND // 10) for i, row in enumerate(rows)]
    return {"proc": list(moved), "netflow": []}


def feed(tee: Tee | EvidenceKeeper, episode: Episode, batches: int, first: int = 0) -> None:
    for i in range(first, first + batches):
        since = START + i * 5 * SECOND
        tee.take(batch_of(rows_at(episode, i * 5), since, since + 5 * SECOND))


def parts_of(store: Path) -> list[Path]:
    return sorted(path.parent for path in store.glob("*/*/episode.json"))


def test_parts_are_whole_episodes_one_after_the_other(tmp_path: Path, episode: Episode) -> None:
    tee = tee_in(tmp_path, part_s=20)
    feed(tee, episode, 10)
    tee.end(START + 50 * SECOND)
    parts = parts_of(tmp_path)
    assert [path.name for path in parts] == ["g-watch-p0000", "g-watch-p0001", "g-watch-p0002"]
    manifests = [read_manifest(path) for path in parts]
    spans = [((m.started_wall_ns - START) // SECOND, (m.ended_wall_ns - START) // SECOND) for m in manifests]
    assert spans == [(0, 20), (20, 40), (40, 50)]
    assert [len(read_episode(path, allow_missing=True).rows["proc"]) for path in parts] == [200, 200, 100]
    assert not list(tmp_path.rglob(DRAFT))


def test_after_a_power_cut_all_but_the_last_seconds_are_there(tmp_path: Path, episode: Episode) -> None:
    tee = tee_in(tmp_path)
    feed(tee, episode, 4)
    (folder,) = (path.parent for path in tmp_path.rglob(DRAFT))
    with (folder / "proc.jsonl.zst").open("ab") as file:
        file.write(compress(b'{"torn":1}\n' * 99, 3)[:-5])  # what was on its way
    assert parts_of(tmp_path) == []  # nobody takes it for an episode
    Bounded(tmp_path, "watch", Bounds(bytes=1 << 30)).recover()
    found = read_episode(folder, allow_missing=True)
    assert len(found.rows["proc"]) == 200
    assert found.manifest.ended_wall_ns == found.rows["proc"][-1].t_wall_ns
    part = watch_part(found.manifest, folder)
    assert part is not None
    assert (part.id, part.part, part.continues) == ("g-watch", 0, True)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_a_power_cut_leaves_is_made_whole_or_left_alone(
    tmp_path_factory: pytest.TempPathFactory, episode: Episode, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    tee = tee_in(folder)
    feed(tee, episode, 3)
    (draft,) = folder.rglob(DRAFT)
    path = draft.parent / "proc.jsonl.zst"
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)), "cut")
    zeros = data.draw(st.sampled_from([0, 1, 400]), "zeros")  # a file system that lost data but not its length
    path.write_bytes(whole[:cut] + b"\0" * zeros)
    if whole_again(draft.parent, lambda _: True):
        kept = read_episode(draft.parent, allow_missing=True)
        assert len(kept.rows["proc"]) in (50, 100, 150)
    else:
        assert not (draft.parent / "episode.json").exists()


def test_frames_of_a_torn_file_are_kept_up_to_the_first_that_is_not_whole() -> None:
    frames = [compress(f"{i}\n".encode() * 50, 3) for i in range(4)]
    whole = b"".join(frames)
    assert whole_frames(whole) == whole
    assert whole_frames(whole[:-1]) == b"".join(frames[:3])
    damaged = bytearray(whole)
    damaged[len(frames[0]) + len(frames[1]) - 2] ^= 0xFF  # in the second one's checksum
    assert whole_frames(bytes(damaged)) == frames[0]
    assert whole_frames(b"no zstd") == b""
    assert whole_frames(b"") == b""


def test_what_cannot_be_made_whole_is_said_and_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "h" / "x"
    folder.mkdir(parents=True)
    (folder / DRAFT).write_text("{}")
    Bounded(tmp_path, "watch", Bounds(bytes=1 << 30)).recover()
    assert "a recording that was cut off cannot be made whole" in caplog.text
    assert (folder / DRAFT).exists()


def test_the_oldest_parts_go_when_there_are_too_many_bytes_or_days(tmp_path: Path, episode: Episode) -> None:
    def kept(store: Path, **bounds: int) -> list[str]:
        tee = tee_in(store, part_s=10, **bounds)
        feed(tee, episode, 20)
        tee.end(START + 100 * SECOND)
        return [path.name[-2:] for path in parts_of(store)]

    assert kept(tmp_path / "all") == [f"{i:02}" for i in range(10)]
    one = sum(f.bytes for f in read_manifest(parts_of(tmp_path / "all")[0]).files.values())
    assert kept(tmp_path / "bytes", most_bytes=4 * one) == ["06", "07", "08", "09"]
    assert kept(tmp_path / "age", age_s=35) == ["06", "07", "08", "09"]


def test_recordings_of_others_and_notes_beside_ours_are_never_touched(tmp_path: Path, episode: Episode) -> None:
    shutil.copytree(episode.path, tmp_path / "h" / "old")
    tee = tee_in(tmp_path, most_bytes=1, part_s=10)
    feed(tee, episode, 2)
    (first,) = (path.parent for path in tmp_path.rglob(DRAFT))
    (first / "note.txt").write_text("mine")
    feed(tee, episode, 4, first=2)
    assert (tmp_path / "h" / "old" / "episode.json").exists()
    assert [path.name for path in first.iterdir()] == ["note.txt"]


def test_drafts_of_others_and_of_what_is_finished_are_left_alone(tmp_path: Path, episode: Episode) -> None:
    tee = tee_in(tmp_path)
    feed(tee, episode, 2)
    (draft,) = tmp_path.rglob(DRAFT)
    mine = draft.read_bytes()
    draft.write_bytes(mine.replace(b"phasewatch edge", b"another recorder"))
    before = {path.name: path.read_bytes() for path in draft.parent.iterdir()}
    Bounded(tmp_path, "watch", Bounds(bytes=1 << 30)).recover()
    assert {path.name: path.read_bytes() for path in draft.parent.iterdir()} == before
    draft.write_bytes(mine)
    (draft.parent / "episode.json").write_text("finished")
    Bounded(tmp_path, "watch", Bounds(bytes=1 << 30)).recover()
    assert (draft.parent / "episode.json").read_text() == "finished"


def test_a_recording_never_goes_into_a_folder_that_is_there(tmp_path: Path, episode: Episode) -> None:
    (tmp_path / "h" / "g-watch-p0000").mkdir(parents=True)
    feed(tee_in(tmp_path), episode, 2)
    assert list((tmp_path / "h" / "g-watch-p0000").iterdir()) == []


def test_two_agents_do_not_share_a_store(tmp_path: Path) -> None:
    first, second = (Bounded(tmp_path, "watch", Bounds(bytes=1)) for _ in range(2))
    with first.lock(), pytest.raises(BusyError, match="another process works here"), second.lock():
        pass


def test_nothing_goes_because_of_its_age_once_the_clock_was_set_by_far(tmp_path: Path, episode: Episode) -> None:
    tee = tee_in(tmp_path, part_s=10, age_s=3600)
    feed(tee, episode, 6)
    year = 365 * 86_400 * SECOND
    tee.clock_set(START + 30 * SECOND, START + 30 * SECOND + year)
    feed(tee, episode, 2, first=6 + year // (5 * SECOND))
    assert len(parts_of(tmp_path)) == 3


def test_a_part_that_holds_rows_is_never_removed_whatever_its_end(tmp_path: Path, episode: Episode) -> None:
    tee = tee_in(tmp_path)
    feed(tee, episode, 4)
    tee.cut(START - 3600 * SECOND)  # of another time: the step itself was lost
    (part,) = parts_of(tmp_path)
    assert len(read_episode(part, allow_missing=True).rows["proc"]) == 200


def test_a_part_ends_before_it_is_more_than_a_reader_may_hold(
    tmp_path: Path, episode: Episode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.record.tee.MOST_EXPANDED", 60_000)
    tee = tee_in(tmp_path)
    feed(tee, episode, 8)
    tee.end(START + 40 * SECOND)
    assert len(parts_of(tmp_path)) > 1


def test_rows_that_cannot_be_written_break_the_chain_and_not_the_recorder(tmp_path: Path, episode: Episode) -> None:
    (first, *_) = rows_at(episode, 10)["proc"]
    bad = msgspec.structs.replace(first, state="\ud800")
    tee = tee_in(tmp_path)
    feed(tee, episode, 2)
    with pytest.raises(UnicodeEncodeError):
        _hand_over([tee], {"proc": [bad]}, START + 10 * SECOND, START + 15 * SECOND, lost=False)
    feed(tee, episode, 2, first=3)
    tee.end(START + 25 * SECOND)
    parts = [watch_part(read_manifest(path), path) for path in parts_of(tmp_path)]
    assert [part.continues for part in parts if part] == [True, False]


def test_a_clock_that_is_set_ends_a_part_and_the_next_says_by_how_much(tmp_path: Path, episode: Episode) -> None:
    tee = tee_in(tmp_path)
    feed(tee, episode, 2)
    tee.clock_set(START + 10 * SECOND, START - 3590 * SECOND)
    feed(tee, episode, 2, first=-718)
    tee.end(START - 3580 * SECOND)
    parts = [watch_part(read_manifest(path), path) for path in parts_of(tmp_path)]
    assert [(part.part, part.moved_ns, part.continues) for part in parts if part] == [
        (0, 0, True), (1, -3600 * SECOND, True),
    ]  # fmt: skip


def test_what_was_lost_is_not_passed_over(tmp_path: Path, episode: Episode) -> None:
    tee = tee_in(tmp_path)
    feed(tee, episode, 2)
    tee.cut(START + 10 * SECOND)
    feed(tee, episode, 2, first=4)
    tee.end(START + 30 * SECOND)
    parts = [watch_part(read_manifest(path), path) for path in parts_of(tmp_path)]
    assert [part.continues for part in parts if part] == [True, False]


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    place = tmp_path / "tiny"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.system
def test_a_full_disk_stops_the_recording_for_now_and_it_goes_on_when_there_is_room(
    tiny: Path, episode: Episode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    tee = tee_in(tiny / "store", part_s=10)
    feed(tee, episode, 2)
    (tiny / "filler").write_bytes(b"x" * (os.statvfs(tiny).f_bavail * os.statvfs(tiny).f_bsize))
    feed(tee, episode, 4, first=2)
    assert caplog.text.count("recording of g stops for now") == 1
    assert "No space left on device" in caplog.text
    (tiny / "filler").unlink()
    later = 6 + AGAIN_NS // (5 * SECOND) + 1
    feed(tee, episode, 3, first=later)
    tee.end(START + (later + 3) * 5 * SECOND)
    assert "recording goes on" in caplog.text
    for path in parts_of(tiny / "store"):
        read_episode(path, allow_missing=True)
    parts = [watch_part(read_manifest(path), path) for path in parts_of(tiny / "store")]
    assert [(part.part, part.continues) for part in parts if part] == [(0, True), (1, False), (2, True)]
    assert not list(tiny.rglob(DRAFT))  # what the full disk tore is whole again, but for what it lost


def test_a_writer_that_cannot_keep_up_says_so_and_blocks_nobody() -> None:
    import threading

    gate, writer = threading.Event(), Writer()
    writer.do(gate.wait)  # type: ignore[arg-type] # what it returns is not looked at
    done = [writer.do(lambda: None) for _ in range(MOST_WAITING + 5)]
    assert done.count(False) >= 4
    gate.set()
    writer.close(10)


def test_a_fault_of_one_job_ends_no_other(caplog: pytest.LogCaptureFixture) -> None:
    writer, done = Writer(), []
    writer.do(lambda: 1 / 0)  # type: ignore[arg-type] # it raises
    writer.do(lambda: done.append(1))
    writer.close(10)
    assert done == [1]
    assert "the recorder goes on after a fault" in caplog.text


@pytest.mark.parametrize("said", [{"id": "x"}, {"id": "../x", "part": 0, "started_wall_ns": 0, "continues": True}, 5])
def test_a_manifest_that_says_nonsense_of_its_watch_is_refused(tmp_path: Path, episode: Episode, said: object) -> None:
    manifest = msgspec.structs.replace(episode.manifest, host={"watch": said})
    with pytest.raises(RowError, match=r"host\.watch: .*; expected a part of a live watch"):
        watch_part(manifest, tmp_path)
