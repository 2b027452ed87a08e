"""Extraction and datasets: what goes in comes out, once, and nothing of another kind gets in."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from contracts.errors import BusyError, ConfigError, DatasetError, MissingError, SchemaMismatchError, WorkError
from contracts.features.channels import view_of
from contracts.features.schema import SECOND, FeatureSchema
from contracts.files import locked
from contracts.telemetry.episode import find_episodes, read_episode, read_manifest
from contracts.vocabulary import PHASES
from edge.extract import Extractor, summarise, truth_of, window_ends
from tests.defects import DEFECTS
from tests.recordings import ONE, ORDERED, SOME, columns_of_episode, copy_of, edit_row, of_corpus
from tests.trainer.conftest import extracted
from trainer.dataset.arrow import ArrowShard
from trainer.dataset.dataset import Dataset
from trainer.dataset.folder import read_dataset_manifest
from trainer.dataset.open import load_summary, load_tensor, open_dataset
from trainer.dataset.samples import Samples
from trainer.extraction.one_shard import Finished, entry_path
from trainer.sweep.catalogue import read_index
from trainer.versions import EXTRACTION, code_digest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Four real episodes."""
    for path in find_episodes(ORDERED)[::3]:
        copy_of(path, tmp_path / "store")
    return tmp_path / "store"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_dataset_holds_what_extraction_gave(dataset: Dataset, summaries: Samples, schema: FeatureSchema) -> None:
    tensors = dataset.load_tensor()
    assert len(dataset) == len(tensors.y) == len(summaries.y) == 964
    assert len(dataset.shards) > 3
    for path in [of_corpus(host, numbers[0]) for host, numbers in SOME.items()]:
        episode = read_episode(path)
        ends = window_ends(episode.manifest.started_wall_ns, episode.manifest.ended_wall_ns, schema)
        expected = Extractor(schema).extract(columns_of_episode(episode, schema), ends).tensor
        one = tensors.of([path.name])
        np.testing.assert_array_equal(one.x, expected)
        np.testing.assert_array_equal(one.centre_ns, ends - schema.window_ns // 2)
        np.testing.assert_array_equal(summaries.of([path.name]).x, summarise(expected, schema))
        assert set(one.host_id) == {path.parent.name}
        assert set(one.profile) == {episode.manifest.profile}
        assert set(one.sample_name) == {episode.manifest.sample_name}
        truth = truth_of(episode.labels, episode.manifest.ended_wall_ns, ends, schema)
        np.testing.assert_array_equal(one.y, truth.label)
        np.testing.assert_array_equal(one.purity, truth.purity)
        assert ((one.purity > 0) & (one.purity <= 1)).all()
    assert set(tensors.y) == set(range(len(PHASES)))


def test_mask_as_stored_is_what_was_observed(store: Path, tmp_path: Path, schema: FeatureSchema) -> None:
    DEFECTS["gap"].plant(store / "lab-q35-1" / next((store / "lab-q35-1").iterdir()).name)
    made = extracted(store, tmp_path / "d", schema, degraded=True)
    tensors = made.load_tensor()
    assert 0.9 < tensors.mask.mean() < 1
    stored = [shard.mask for shard in made.shards if isinstance(shard, ArrowShard)]
    np.testing.assert_array_equal(np.concatenate(stored), tensors.mask)


def test_load_gives_a_threat_models_channels_in_order(
    dataset: Dataset, summaries: Samples, schema: FeatureSchema
) -> None:
    view = view_of(schema.channels, "realistic")
    at = [schema.channel_ids.index(channel) for channel in view]
    np.testing.assert_array_equal(load_tensor(dataset.path, schema, view).x, dataset.load_tensor().x[:, at])
    some = load_summary(dataset.path, schema, view)
    assert some.x.shape == (964, 36 * 6)
    column = summaries.names.index("netflow.flows:max")
    np.testing.assert_array_equal(some.x[:, some.names.index("netflow.flows:max")], summaries.x[:, column])
    with pytest.raises(DatasetError, match="no channel proc.colour; expected channels of its schema"):
        dataset.load_tensor(("proc.colour",))


@pytest.mark.parametrize("shard_bytes", [1 << 20, 64 << 20])
def test_extract_gives_the_same_bytes_for_any_number_of_workers(
    store: Path, tmp_path: Path, schema: FeatureSchema, shard_bytes: int
) -> None:
    for workers in (1, 3):
        extracted(store, tmp_path / f"{workers}", schema, workers=workers, shard_bytes=shard_bytes)
    assert files(tmp_path / "1") == files(tmp_path / "3")


def test_shards_are_no_larger_than_asked_for_and_hold_every_window_once(dataset: Dataset) -> None:
    shards = list((dataset.path / "shards").iterdir())
    assert all(path.stat().st_size < (4 << 20) + 100_000 for path in shards)
    ids = dataset.load_ids()
    assert len(set(zip(ids.episode_id, ids.centre_ns, strict=True))) == 964
    for shard in dataset.shards:  # an episode is in one shard
        others = {name for other in dataset.shards if other is not shard for name in other.ids("episode_id")}
        assert not others & set(shard.ids("episode_id"))


def test_extract_again_keeps_every_shard_and_one_more_episode_changes_one(
    store: Path, tmp_path: Path, schema: FeatureSchema
) -> None:
    out = tmp_path / "d"
    extracted(store, out, schema, shard_bytes=1)
    before = {path.name: path.stat().st_ino for path in (out / "shards").iterdir()}
    assert len(before) == 4
    extracted(store, out, schema, shard_bytes=1)
    assert {path.name: path.stat().st_ino for path in (out / "shards").iterdir()} == before
    copy_of(ONE, store)
    assert len(extracted(store, out, schema, shard_bytes=1).shards) == 5
    after = {path.name: path.stat().st_ino for path in (out / "shards").iterdir()}
    assert len(set(after.items()) & set(before.items())) >= 3
    shutil.rmtree(store / ONE.parent.name / ONE.name)
    extracted(store, out, schema, shard_bytes=1)
    assert {path.name for path in (out / "shards").iterdir()} == set(before)


def test_extract_goes_on_after_a_kill(store: Path, tmp_path: Path, schema: FeatureSchema) -> None:
    """As a kill leaves it: some shards whole, one half-written, no dataset.json."""
    out = tmp_path / "d"
    extracted(store, out, schema, shard_bytes=1)
    whole = files(out)
    as_if_interrupted(out)
    (out / "shards" / "notes.txt").write_text("mine")
    kept, lost = sorted((out / "shards").glob("*.arrow"))[:2]
    inode = kept.stat().st_ino
    lost.rename(out / "shards" / f".{lost.name}.abc.part")
    with pytest.raises(MissingError, match=r"dataset\.json: no such file"):
        open_dataset(out, schema)
    extracted(store, out, schema, shard_bytes=1)
    assert files(out) == {**whole, "shards/notes.txt": b"mine"}
    assert kept.stat().st_ino == inode


def as_if_interrupted(out: Path) -> None:
    """Every shard is finished, and there is no dataset.json yet."""
    for entry in read_dataset_manifest(out).shards:
        finished = Finished(code=code_digest(*EXTRACTION), shard=entry)
        entry_path(out / "shards" / entry.name).write_bytes(msgspec.json.encode(finished))
    (out / "dataset.json").unlink()


@pytest.mark.parametrize("beside", [True, False], ids=["with its digest beside it", "without"])
def test_a_shard_of_an_interrupted_extraction_is_not_believed_when_a_byte_differs(
    store: Path, tmp_path: Path, schema: FeatureSchema, beside: bool
) -> None:
    out = tmp_path / "d"
    extracted(store, out, schema, shard_bytes=1)
    whole = files(out)
    as_if_interrupted(out)
    shard = sorted((out / "shards").glob("*.arrow"))[0]
    if not beside:
        entry_path(shard).unlink()
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1  # in the midst of the numbers: it still opens
    shard.write_bytes(bytes(data))
    assert len(ArrowShard(shard, schema)) > 0
    extracted(store, out, schema, shard_bytes=1)
    assert files(out) == whole


def test_extract_counts_the_readings_that_cannot_be(
    store: Path, tmp_path: Path, schema: FeatureSchema, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, *_ = find_episodes(store)
    edit_row(first, "qmp", 50, lambda row: row.update(wr_bytes=row["wr_bytes"] + 2**60))
    edit_row(second, "proc", 50, lambda row: row.update(num_threads=2**40))
    made = extracted(store, tmp_path / "d", schema)
    assert "extract: left out readings that cannot be (proc 1, qmp 1)" in capsys.readouterr().err
    assert [shard.impossible for shard in read_dataset_manifest(made.path).shards] == [{"proc": 1, "qmp": 1}]
    again = extracted(store, tmp_path / "d", schema)
    assert read_dataset_manifest(again.path) == read_dataset_manifest(made.path)


def test_extract_makes_a_damaged_shard_anew(store: Path, tmp_path: Path, schema: FeatureSchema) -> None:
    out = tmp_path / "d"
    extracted(store, out, schema, shard_bytes=1)
    whole = files(out)
    first, second = sorted((out / "shards").iterdir())[:2]
    data = first.read_bytes()
    first.write_bytes(data[: len(data) // 2] + bytes(4000) + data[len(data) // 2 + 4000 :])
    second.write_bytes(b"torn")
    extracted(store, out, schema, shard_bytes=1)
    assert files(out) == whole


def test_extract_leaves_out_what_the_sweep_rejects_and_says_so(
    store: Path, tmp_path: Path, schema: FeatureSchema, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, poor, *_ = find_episodes(store)
    DEFECTS["flipped bit"].plant(bad)
    DEFECTS["no netflow"].plant(poor)
    made = extracted(store, tmp_path / "d", schema)
    assert "left out 1 degraded, 1 rejected (digest-mismatch 1, source-missing 1)" in capsys.readouterr().err
    assert read_dataset_manifest(made.path).left_out == {"degraded": 1, "rejected": 1}
    assert not {bad.name, poor.name} & set(made.load_ids().episode_id)
    verdicts = {finding.path: finding.verdict for finding in read_index(made.path / "index.parquet")}
    assert verdicts[f"{bad.parent.name}/{bad.name}"] == "rejected"

    more = extracted(store, tmp_path / "d", schema, degraded=True)
    assert read_dataset_manifest(more.path).left_out == {"rejected": 1}
    assert more.digest != made.digest
    at = [i for i, channel in enumerate(schema.channels) if channel.source == "netflow"]
    assert np.isnan(more.load_tensor().of([poor.name]).x[:, at]).all()  # what is not known is not silence


def test_extract_refuses_a_store_without_a_usable_episode(store: Path, tmp_path: Path, schema: FeatureSchema) -> None:
    for path in find_episodes(store):
        DEFECTS["no netflow"].plant(path)
    with pytest.raises(DatasetError, match="no usable episode; expected accepted ones; .* or take --include-degraded"):
        extracted(store, tmp_path / "d", schema)
    assert not (tmp_path / "d" / "dataset.json").exists()


def test_extract_starts_from_the_stores_own_index(
    store: Path, tmp_path: Path, schema: FeatureSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.sweeping import run
    from trainer.sweep import sweep as module

    run(store)

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "examine_all", never)
    assert len(extracted(store, tmp_path / "d", schema)) > 80


def test_extract_refuses_an_episode_that_changes_under_it(store: Path, tmp_path: Path, schema: FeatureSchema) -> None:
    from trainer.extraction.one_shard import Input, extract_episode

    path = find_episodes(store)[0]
    with pytest.raises(DatasetError, match="changed since it was swept; expected a store at rest"):
        extract_episode(path, Extractor(schema), Input("", "0" * 64, ("proc",), 1))


def test_extract_says_in_one_line_when_memory_runs_out(
    store: Path, tmp_path: Path, schema: FeatureSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("trainer.extraction.one_shard.extract_episode", greedy)
    with pytest.raises(WorkError, match=r"all-\w{16}\.arrow: no memory left to make it in; .* use fewer --workers"):
        extracted(store, tmp_path / "d", schema)
    assert not (tmp_path / "d" / "dataset.json").exists()


def test_extract_refuses_to_write_into_the_store(store: Path, schema: FeatureSchema) -> None:
    with pytest.raises(ConfigError, match="inside the store; expected a folder outside it"):
        extracted(store, store / "dataset", schema)
    assert {path.name for path in store.iterdir()} == {path.parent.name for path in find_episodes(store)}


def test_extract_refuses_to_share_its_folder(store: Path, tmp_path: Path, schema: FeatureSchema) -> None:
    with locked(tmp_path / "d" / ".lock"), pytest.raises(BusyError, match="another process works here"):
        extracted(store, tmp_path / "d", schema)


def test_extract_leaves_no_dataset_when_the_disk_is_full(store: Path, tmp_path: Path, schema: FeatureSchema) -> None:
    """A limit on file sizes fails a write as a full disk does (EFBIG in place of ENOSPC)."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000));"
        "from trainer.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "extract", str(store), "--out", str(tmp_path / "d")]
    for workers in ("1", "2"):
        done = subprocess.run([*command, "--workers", workers], capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "cannot be written (File too large)" in done.stderr.splitlines()[-1]
        assert not (tmp_path / "d" / "dataset.json").exists()
        assert not list((tmp_path / "d" / "shards").glob("*.arrow"))
    assert len(extracted(store, tmp_path / "d", schema)) > 80


def test_a_registry_of_ones_own_gives_its_own_dataset(store: Path, tmp_path: Path, schema: FeatureSchema) -> None:
    some = msgspec.structs.replace(schema, channels=schema.channels[:3], stride_ns=schema.window_ns)
    made = extracted(store, tmp_path / "d", some)
    assert made.load_tensor().x.shape[1:] == (3, 100)
    assert open_dataset(made.path).schema == some
    found = rf"dataset\.json: feature schema \w{{12}}…; expected {schema.hash[:12]}…"
    with pytest.raises(SchemaMismatchError, match=found):
        open_dataset(made.path, schema)


def test_windows_longer_than_some_episodes_leave_those_out_and_longer_than_all_are_refused(
    store: Path, tmp_path: Path, schema: FeatureSchema
) -> None:
    seconds = sorted(m.ended_wall_ns - m.started_wall_ns for m in map(read_manifest, find_episodes(store)))
    some = msgspec.structs.replace(schema, window_ns=(seconds[-1] // SECOND - 10) * SECOND)
    made = extracted(store, tmp_path / "d", some, shard_bytes=1)
    assert 1 <= len(made.shards) < 4
    every = msgspec.structs.replace(schema, window_ns=(seconds[-1] // SECOND + 1) * SECOND)
    with pytest.raises(DatasetError, match="not one window; expected episodes longer than a window"):
        extracted(store, tmp_path / "d", every, shard_bytes=1)


def test_dataset_of_another_extraction_is_refused_though_nobody_names_a_schema(
    store: Path, tmp_path: Path, schema: FeatureSchema
) -> None:
    made = extracted(store, tmp_path / "d", msgspec.structs.replace(schema, extractor_version=0))
    found = rf"dataset\.json: feature schema \w{{12}}…; expected {schema.hash[:12]}…"
    with pytest.raises(SchemaMismatchError, match=found):
        open_dataset(made.path)


def test_dataset_that_is_none_is_refused(tmp_path: Path, dataset: Dataset, schema: FeatureSchema) -> None:
    with pytest.raises(MissingError, match="no such folder; expected a dataset; make one with `trainer extract"):
        open_dataset(tmp_path / "d", schema)
    bad = tmp_path / "bad"
    shutil.copytree(dataset.path, bad)
    manifest = json.loads((bad / "dataset.json").read_text())

    def with_manifest(**changes: object) -> None:
        (bad / "dataset.json").write_text(json.dumps({**manifest, **changes}))

    with_manifest(schema_hash="0" * 64)
    with pytest.raises(DatasetError, match="a schema that is not of its hash"):
        open_dataset(bad, schema)
    with_manifest(shards=[{**manifest["shards"][0], "name": "../index.arrow"}])
    with pytest.raises(DatasetError, match="Expected `str` matching regex"):
        open_dataset(bad, schema)
    with_manifest(shards=[{**manifest["shards"][0], "windows": 5}])
    with pytest.raises(DatasetError, match=r"\d+ windows; expected 5, as dataset\.json says"):
        open_dataset(bad, schema)
    with_manifest()
    shard = bad / "shards" / manifest["shards"][0]["name"]
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(DatasetError, match="not a shard"):
        open_dataset(bad, schema)
    shard.unlink()
    with pytest.raises(MissingError, match="no such file; expected a shard"):
        open_dataset(bad, schema)


def test_shard_of_another_schema_in_the_right_folder_is_refused(
    tmp_path: Path, dataset: Dataset, schema: FeatureSchema
) -> None:
    shutil.copytree(dataset.path, tmp_path / "d")
    entry = read_dataset_manifest(dataset.path).shards[0]
    path = tmp_path / "d" / "shards" / entry.name
    with pa.memory_map(str(dataset.path / "shards" / entry.name)) as source:
        table = pa.ipc.open_file(source).read_all()
    other = table.replace_schema_metadata({**table.schema.metadata, b"schema_hash": b"0" * 64})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, other.schema) as writer:
        writer.write_table(other)
    with pytest.raises(SchemaMismatchError, match="feature schema 000000000000…"):
        open_dataset(tmp_path / "d", schema)
