"""Older datasets are read as they are, never unpickled, and refused for another schema."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import DatasetError, MissingError, SchemaMismatchError
from contracts.features.schema import FeatureSchema
from trainer.dataset.dataset import Dataset
from trainer.dataset.describe import describe
from trainer.dataset.open import load_summary, load_tensor, load_tensor_lazy, open_dataset
from trainer.split import make_split, recipe_named


@pytest.fixture
def shards(tmp_path: Path, dataset: Dataset) -> Path:
    """Eleven episodes in the older form: one `.npz` each, zero where not observed."""
    folder = tmp_path / "old"
    folder.mkdir()
    whole = dataset.load_tensor()
    rng = np.random.default_rng(0)
    for episode in sorted(set(whole.episode_id))[::2]:
        one = whole.of([episode])
        mask = one.mask & (rng.random(one.x.shape) > 0.1)
        arrays: dict[str, Any] = {
            "X": np.where(mask, one.x, 0),
            "mask": mask,
            "y": one.y,
            "t_center": one.centre_ns / 1e9,
            "episode_id": np.array(episode),
            "channel_names": np.array(whole.names),
        }
        for name in ("host_id", "profile", "sample_name"):
            arrays[name] = np.array([str(value) for value in getattr(one, name)])
        np.savez(folder / f"{episode}.npz", **arrays)
    (folder / "schema.json").write_text(json.dumps({"schema_hash": dataset.schema.hash, "steps": 100}))
    return folder


@pytest.fixture
def parquet(tmp_path: Path, dataset: Dataset) -> Path:
    """The summaries as one Parquet."""
    whole = dataset.load_summary()
    columns: dict[str, Any] = {name: whole.x[:, i] for i, name in enumerate(whole.names)}
    columns |= {"y": whole.y, "t_center": whole.centre_ns}
    ids = {name: getattr(whole, name) for name in ("episode_id", "host_id", "profile", "sample_name")}
    pq.write_table(pa.table({**columns, **ids}), tmp_path / "s.parquet")
    (tmp_path / "s.schema.json").write_text(json.dumps({"schema_hash": dataset.schema.hash}))
    return tmp_path / "s.parquet"


def test_npz_shards_are_read_with_nan_where_the_mask_says_so(
    shards: Path, dataset: Dataset, schema: FeatureSchema
) -> None:
    found = load_tensor(shards, schema)
    expected = dataset.load_tensor().of(set(found.episode_id))
    assert 0.85 < found.mask.mean() < 0.95
    assert found.y.tolist() == [y for e in sorted(set(found.episode_id)) for y in expected.of([e]).y]
    one = found.of([found.episode_id[0]])
    same = expected.of([found.episode_id[0]])
    np.testing.assert_array_equal(one.x[one.mask], same.x[one.mask])
    assert np.abs(one.centre_ns - same.centre_ns).max() < 1000  # seconds in a float hold no more
    assert load_summary(shards, schema, schema.channel_ids[:4]).x.shape == (len(found.y), 24)


def test_npz_shards_are_read_lazily(shards: Path) -> None:
    batches = list(load_tensor_lazy(shards, batch=20, seed=0))
    assert sum(len(y) for _, y in batches) == len(load_tensor(shards).y)


def test_summary_parquet_is_read(parquet: Path, dataset: Dataset, schema: FeatureSchema) -> None:
    found = load_summary(parquet, schema)
    np.testing.assert_array_equal(found.x, dataset.load_summary().x)
    np.testing.assert_array_equal(found.centre_ns, dataset.load_summary().centre_ns)
    with pytest.raises(DatasetError, match=r"s\.parquet: summaries alone; expected tensors; take gbt or mlp"):
        load_tensor(parquet, schema)


def test_commands_work_on_older_datasets(parquet: Path) -> None:
    split = make_split(open_dataset(parquet), recipe_named("held_out_sample", 60))
    assert len(split.test) > 3
    assert describe(open_dataset(parquet)).channels[0].observed == 1.0


@pytest.mark.parametrize("form", ["shards", "parquet"])
def test_older_datasets_of_another_schema_or_none_are_refused(
    form: str, request: pytest.FixtureRequest, schema: FeatureSchema
) -> None:
    path: Path = request.getfixturevalue(form)
    note = path / "schema.json" if form == "shards" else path.with_suffix(".schema.json")
    note.write_text(json.dumps({"schema_hash": "0" * 64}))
    with pytest.raises(
        SchemaMismatchError, match=rf"schema\.json: feature schema 000000000000…; expected {schema.hash[:12]}…"
    ):
        open_dataset(path)
    note.write_text("{}")
    with pytest.raises(DatasetError, match="missing required field `schema_hash`"):
        open_dataset(path)
    note.unlink()
    with pytest.raises(MissingError, match="no such file"):
        open_dataset(path)


class Bomb:
    """What a pickle could do."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("boom",))


def test_npz_with_a_pickle_inside_is_refused_and_not_run(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = sorted(shards.glob("*.npz"))[0]
    with np.load(path) as arrays:
        content = {name: arrays[name] for name in arrays}
    assert pickle.dumps(Bomb())
    np.savez(path, **{**content, "X": np.array([Bomb()], object)})
    with pytest.raises(
        DatasetError, match=r"cannot be read \(Object arrays cannot be loaded when allow_pickle=False\)"
    ):
        load_tensor(shards)
    assert "boom" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channel_names": np.array(["a"])}, r"channels a…; expected proc\.cpu_user, .*…, 46 in all"),
        ({"y": np.full(22, 7)}, r"y \(22,\), int64; expected labels from 0 to 4"),
        ({"y": np.full(22, -1)}, "expected labels from 0 to 4"),
        ({"mask": np.ones((3, 46, 100), bool)}, r"mask \(3, 46, 100\); expected \("),
        ({"t_center": np.ones(3)}, r"t_center \(3,\); expected \(\d+,\), one per window"),
        ({"X": np.zeros((3, 46, 100))}, r"X \(3, 46, 100\); expected \("),
    ],
)
def test_npz_of_other_shapes_is_refused(shards: Path, change: dict[str, Any], message: str) -> None:
    path = sorted(shards.glob("*.npz"))[0]
    with np.load(path) as arrays:
        content = {name: arrays[name] for name in arrays}
    np.savez(path, **{**content, **change})
    with pytest.raises(DatasetError, match=message):
        load_tensor(shards)


def test_npz_shards_that_share_an_id_between_hosts_are_not_split(shards: Path) -> None:
    """Sides go by the id: one that stands for two hosts would be on two sides."""
    for path in sorted(shards.glob("*.npz"))[:5]:
        with np.load(path) as arrays:
            content = {name: arrays[name] for name in arrays}
        np.savez(path, **{**content, "episode_id": np.array("same")})
    with pytest.raises(DatasetError, match="episode same with more than one host_id; expected one"):
        make_split(open_dataset(shards), recipe_named("held_out_sample", 60))


def test_npz_that_is_torn_or_lacks_an_array_is_refused(shards: Path) -> None:
    path = sorted(shards.glob("*.npz"))[0]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=r"\.npz: cannot be read"):
        load_tensor(shards)
    np.savez(path, y=np.zeros(3))
    with pytest.raises(DatasetError, match="no array channel_names; expected an .npz shard, without pickles"):
        load_tensor(shards)


def test_summary_parquet_without_a_column_is_refused(parquet: Path) -> None:
    table = pq.read_table(parquet)
    for column, message in (("proc.rss:mean", "no column proc.rss:mean"), ("host_id", "no column host_id")):
        pq.write_table(table.drop_columns([column]), parquet)
        with pytest.raises(DatasetError, match=message):
            load_summary(parquet)
    parquet.write_bytes(b"PAR1")
    with pytest.raises(DatasetError, match="no Parquet"):
        load_summary(parquet)
