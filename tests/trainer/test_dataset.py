"""Datasets, splits and checkpoints: what goes in comes out, and nothing of another kind gets in."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from contracts.channels import view_of
from contracts.errors import DatasetError, LabelError, MissingError, SchemaMismatchError
from contracts.features import FeatureSchema
from contracts.phases import PHASES
from contracts.telemetry.episode import find_episodes, read_episode
from contracts.telemetry.storage import locked
from edge.extract import Extractor, summarise, window_ends
from tests.recordings import CORPUS, ONE, columns_of_episode, copy_of, edit_lines, edit_manifest
from trainer.corpus.dataset import Dataset, Samples
from trainer.corpus.extract import extract_episode, extract_store
from trainer.split import held_out_host, load_split, save_split


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, schema: FeatureSchema) -> Dataset:
    return extract_store(find_episodes(CORPUS), tmp_path_factory.mktemp("data") / "d.arrow", schema, workers=1)


@pytest.fixture(scope="module")
def summaries(dataset: Dataset) -> Samples:
    return dataset.load_summary()


def test_extract_store_gives_the_same_bytes_for_any_number_of_workers(tmp_path: Path, schema: FeatureSchema) -> None:
    episodes = find_episodes(CORPUS)[:6]
    for workers in (1, 2):
        extract_store(episodes, tmp_path / f"{workers}.arrow", schema, workers=workers)
    assert (tmp_path / "1.arrow").read_bytes() == (tmp_path / "2.arrow").read_bytes()


def test_dataset_holds_what_extraction_gave(dataset: Dataset, summaries: Samples, schema: FeatureSchema) -> None:
    tensors = dataset.load_tensor()
    assert len(dataset) == len(tensors.y) == len(summaries.y) == 965
    episode = read_episode(CORPUS / "lab-q35-1" / "lab-q35-1-io-walk-s02")
    ends = window_ends(episode.manifest.started_wall_ns, episode.manifest.ended_wall_ns, schema)
    expected = Extractor(schema).extract(columns_of_episode(episode, schema), ends).tensor
    one = tensors.of(["lab-q35-1-io-walk-s02"])
    np.testing.assert_array_equal(one.x, expected)
    np.testing.assert_array_equal(one.centre_ns, ends - schema.window_ns // 2)
    np.testing.assert_array_equal(summaries.of(["lab-q35-1-io-walk-s02"]).x, summarise(expected, schema))
    assert set(one.host_id) == {"lab-q35-1"}
    assert set(one.profile) == {"io-walk"}
    assert set(one.y) == set(range(len(PHASES)))


def test_load_gives_a_threat_models_channels_in_order(
    dataset: Dataset, summaries: Samples, schema: FeatureSchema
) -> None:
    view = view_of(schema.channels, "realistic")
    at = [schema.channel_ids.index(channel) for channel in view]
    np.testing.assert_array_equal(dataset.load_tensor(view).x, dataset.load_tensor().x[:, at])
    some = dataset.load_summary(view)
    assert some.x.shape == (965, 36 * 6)
    column = summaries.names.index("netflow.flows:max")
    np.testing.assert_array_equal(some.x[:, some.names.index("netflow.flows:max")], summaries.x[:, column])


def test_extract_store_keeps_a_dataset_that_still_fits_and_renews_one_that_does_not(
    tmp_path: Path, schema: FeatureSchema
) -> None:
    episodes, path = find_episodes(CORPUS)[:2], tmp_path / "d.arrow"
    windows = len(extract_store(episodes, path, schema, workers=1))
    before = path.stat().st_ino
    extract_store(episodes, path, schema, workers=1)
    assert path.stat().st_ino == before
    extract_store(episodes[:1], path, schema, workers=1)
    assert path.stat().st_ino != before
    path.write_bytes(b"torn")
    assert len(extract_store(episodes, path, schema, workers=1)) == windows


def test_dataset_of_another_schema_is_refused(dataset: Dataset, schema: FeatureSchema) -> None:
    other = msgspec.structs.replace(schema, stride_ns=schema.stride_ns * 2)
    with pytest.raises(SchemaMismatchError, match=r"d\.arrow: feature schema \w{12}…; expected \w{12}…, which this"):
        Dataset(dataset.path, other)


def test_dataset_that_is_none_is_refused(tmp_path: Path, schema: FeatureSchema) -> None:
    with pytest.raises(MissingError, match="no such file; expected a dataset"):
        Dataset(tmp_path / "d", schema)
    (tmp_path / "d").write_bytes(b"hello" * 100)
    with pytest.raises(DatasetError, match="not an Arrow file"):
        Dataset(tmp_path / "d", schema)


def test_extract_episode_refuses_one_without_labels(spoiled: Path, schema: FeatureSchema) -> None:
    edit_manifest(spoiled, lambda manifest: manifest["files"].pop("labels.jsonl.zst"))
    with pytest.raises(LabelError, match=r"episode\.json: no labels file; expected labels to learn from"):
        extract_episode(spoiled, schema=schema)


def test_extract_store_leaves_nothing_half_written_when_an_episode_is_bad(
    tmp_path: Path, schema: FeatureSchema
) -> None:
    good, bad = (copy_of(path, tmp_path / "store") for path in find_episodes(CORPUS)[:2])
    (bad / "proc.jsonl.zst").unlink()
    with pytest.raises(MissingError, match="no such file"):
        extract_store([good, bad], tmp_path / "d.arrow", schema, workers=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]


def test_extract_store_refuses_two_episodes_of_one_id(tmp_path: Path, schema: FeatureSchema) -> None:
    """Sides and clusters go by the id: two hosts that share one would leak into each other."""
    first = copy_of(ONE, tmp_path / "store")
    second = first.parent.parent / "other-host" / first.name
    shutil.copytree(first, second)
    edit_manifest(second, lambda manifest: manifest.update(host_id="other-host"))
    with pytest.raises(DatasetError, match=r"an episode id that \S+ has too; expected ids that occur once"):
        extract_store([first, second], tmp_path / "d.arrow", schema, workers=1)


def test_extract_store_refuses_a_manifest_that_names_another_host(tmp_path: Path, schema: FeatureSchema) -> None:
    folder = copy_of(ONE, tmp_path / "store")
    edit_manifest(folder, lambda manifest: manifest.update(host_id="elsewhere"))
    with pytest.raises(DatasetError, match="host elsewhere, episode .*; expected lab-q35-2/lab-q35-2-io-walk-s01"):
        extract_store([folder], tmp_path / "d.arrow", schema, workers=1)


def test_extract_store_asks_again_for_leave_to_miss_a_source(tmp_path: Path, schema: FeatureSchema) -> None:
    folder = copy_of(ONE, tmp_path / "store")
    edit_manifest(folder, lambda manifest: manifest["files"].pop("netflow.jsonl.zst"))
    extract_store([folder], tmp_path / "d.arrow", schema, workers=1, allow_missing=True)
    with pytest.raises(MissingError, match="no netflow file"):
        extract_store([folder], tmp_path / "d.arrow", schema, workers=1)


def test_extract_store_makes_a_damaged_dataset_anew(tmp_path: Path, schema: FeatureSchema) -> None:
    episodes, path = find_episodes(CORPUS)[:2], tmp_path / "d.arrow"
    extract_store(episodes, path, schema, workers=1)
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(4000) + whole[middle + 4000 :])
    extract_store(episodes, path, schema, workers=1)
    assert path.read_bytes() == whole


def test_extract_store_says_what_adds_nothing(
    tmp_path: Path, schema: FeatureSchema, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy_of(ONE, tmp_path / "store")
    cut = 9 * 1_000_000_000

    def shorten(manifest: dict[str, Any]) -> None:
        manifest["ended_wall_ns"] = manifest["started_wall_ns"] + cut

    edit_lines(folder, "labels", lambda lines: lines[:1])
    edit_manifest(folder, shorten)
    extract_store([folder, find_episodes(CORPUS)[0]], tmp_path / "d.arrow", schema, workers=1)
    assert "1 episodes hold no whole labelled window and add nothing" in capsys.readouterr().err


@pytest.mark.parametrize("host", [None, "lab-q35-1", "lab-microvm-1", "lab-q35-2"])
def test_held_out_host_leaks_nothing(summaries: Samples, dataset: Dataset, host: str | None) -> None:
    split = held_out_host(summaries, dataset.digest, host)
    train, validation, test = (summaries.of(side) for side in (split.train, split.validation, split.test))
    assert len(train.y) + len(validation.y) + len(test.y) == len(summaries.y)
    assert set(test.host_id) == set(split.held_out)
    assert not set(test.host_id) & (set(train.host_id) | set(validation.host_id))
    assert not set(train.episode_id) & set(validation.episode_id)
    assert set(train.profile) == set(summaries.profile)
    assert set(train.y) == set(validation.y) == set(range(len(PHASES)))
    expected = ["scan-and-dial"] if split.held_out == ("lab-q35-2",) else []
    assert list(split.untested_profiles) == expected
    learned = set(zip(train.profile, train.sample_name, strict=True)) | set(
        zip(validation.profile, validation.sample_name, strict=True)
    )
    both = learned & set(zip(test.profile, test.sample_name, strict=True))
    assert set(split.seen_samples) == {f"{profile}/{sample}" for profile, sample in both}


def test_held_out_host_is_the_smallest_one_unless_said(summaries: Samples, dataset: Dataset) -> None:
    assert held_out_host(summaries, dataset.digest).held_out == ("lab-q35-2",)


def test_held_out_host_refuses_what_the_corpus_cannot_support(summaries: Samples) -> None:
    with pytest.raises(DatasetError, match="no host nowhere; expected one of lab-microvm-1, lab-q35-1, lab-q35-2"):
        held_out_host(summaries, "", "nowhere")
    alone = summaries.of(sorted(set(summaries.episode_id[summaries.host_id == "lab-q35-1"])))
    with pytest.raises(DatasetError, match=r"one host only \(lab-q35-1\); expected two at least"):
        held_out_host(alone, "")
    scans = (summaries.profile == "scan-and-dial") & (summaries.host_id != "lab-q35-1")
    with pytest.raises(DatasetError, match="profile scan-and-dial is on no other host"):
        held_out_host(summaries.of(sorted(set(summaries.episode_id[~scans]))), "", "lab-q35-1")
    armed = Samples(**{**vars(summaries), "y": np.where(summaries.y == 1, 0, summaries.y)})
    with pytest.raises(DatasetError, match="no window of armed in train; expected every phase there"):
        held_out_host(armed, "")


def test_split_is_saved_whole_and_refused_for_another_dataset(
    tmp_path: Path, summaries: Samples, dataset: Dataset
) -> None:
    split = held_out_host(summaries, dataset.digest)
    save_split(split, tmp_path / "s.json")
    assert load_split(tmp_path / "s.json", dataset.digest) == split
    with pytest.raises(DatasetError, match=r"a split of dataset \w{12}…; expected of 000000000000…"):
        load_split(tmp_path / "s.json", "0" * 64)
    (tmp_path / "s.json").write_text("{")
    with pytest.raises(DatasetError, match="expected a split"):
        load_split(tmp_path / "s.json", dataset.digest)


def test_locked_refuses_a_second_user(tmp_path: Path) -> None:
    from contracts.errors import BusyError

    with locked(tmp_path / "l"), pytest.raises(BusyError, match="another process works here"), locked(tmp_path / "l"):
        pass
