"""`trainer label` shows labels and puts them right, and touches nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from contracts.errors import StorageError
from contracts.files import file_sha256, write_file
from contracts.telemetry.episode import read_episode
from contracts.telemetry.labels import relabel
from tests.recordings import edit_manifest
from trainer.cli import main
from trainer.sweep.examine import examine


def rows_of(folder: Path) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in folder.glob("*.jsonl.zst") if not path.name.startswith("labels")}


def test_label_shows_what_could_be_given_back_to_it(spoiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = read_episode(spoiled).labels
    assert main(["label", str(spoiled)]) == 0
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert [word.partition("=")[2] for word in shown] == [label.phase for label in before]
    assert main(["label", str(spoiled), "--set", *shown]) == 0
    again = read_episode(spoiled).labels
    assert [label.phase for label in again] == [label.phase for label in before]
    for one, other in zip(again, before, strict=True):
        assert abs(one.t_wall_ns - other.t_wall_ns) <= 500_000  # shown to the millisecond
        assert one.t_mono_ns - one.t_wall_ns == before[0].t_mono_ns - before[0].t_wall_ns


def test_label_replaces_labels_and_leaves_every_row(spoiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = rows_of(spoiled)
    for times in (
        ("0=clean", "40.5=armed"),
        ("0=armed", "20=clean", "60=infecting"),
    ):  # back and forth between two names
        assert main(["label", str(spoiled), "--set", *times, "--profile", "own", "--sample", "mine", "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert [f"{one['since_s']:g}={one['phase']}" for one in said["labels"]] == list(times)
        assert (said["profile"], said["sample_name"]) == ("own", "mine")
        assert rows_of(spoiled) == before
        assert examine(spoiled).verdict == "accepted"
        assert len(list(spoiled.glob("labels*"))) == 1


def test_label_gives_labels_to_an_episode_without_any(spoiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (spoiled / "labels.jsonl.zst").unlink()
    edit_manifest(spoiled, lambda manifest: manifest["files"].pop("labels.jsonl.zst"))
    assert main(["label", str(spoiled)]) == 0
    assert "no labels: give it some with --set" in capsys.readouterr().out
    assert main(["label", str(spoiled), "--set", "0=clean", "30=infecting"]) == 0
    assert examine(spoiled).verdict == "accepted"


@pytest.mark.parametrize(
    ("times", "refusal"),
    [
        (["0=asleep"], "names no phase; expected WHEN=PHASE"),
        (["soon=clean"], "is neither seconds since the start nor a time"),
        (["0=clean", "9999=armed"], "outside the episode; expected a time from"),
        (["2020-01-01T00:00:00Z=clean"], "outside the episode; expected a time from"),
        (["30=armed", "10=clean"], "not after the label before it; expected labels in order of time"),
    ],
)
def test_label_refuses_what_cannot_be_and_changes_nothing(
    spoiled: Path, capsys: pytest.CaptureFixture[str], times: list[str], refusal: str
) -> None:
    before = {path.name: file_sha256(path) for path in spoiled.iterdir()}
    assert main(["label", str(spoiled), "--set", *times]) == 2
    assert refusal in capsys.readouterr().err
    assert {path.name: file_sha256(path) for path in spoiled.iterdir()} == before


def test_episode_keeps_its_labels_when_the_disk_is_full(spoiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        if path.name == "episode.json":
            raise StorageError(
                path, "cannot be written (No space left on device)", expected="space", remedy="free some"
            )
        write_file(path, data)

    monkeypatch.setattr("contracts.telemetry.labels.write_file", full)
    before = read_episode(spoiled)
    with pytest.raises(StorageError, match="No space left"):
        relabel(spoiled, [(before.manifest.started_wall_ns, "clean")])
    assert read_episode(spoiled).labels == before.labels
    assert examine(spoiled).verdict == "accepted"
