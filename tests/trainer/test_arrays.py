"""Arrays from elsewhere: other channels, classes, lengths and groups, on which the later commands work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import ConfigError, DatasetError, SchemaMismatchError
from contracts.features.channels import Channel, read_channels
from contracts.features.schema import FeatureSchema
from edge.extract import Extractor, summarise
from trainer.dataset.dataset import Dataset
from trainer.dataset.describe import describe
from trainer.dataset.from_arrays import write_dataset
from trainer.dataset.open import open_dataset
from trainer.split import make_split, recipe_named

CLASSES = ("walking", "sitting", "lying")
CHANNELS = tuple(Channel(name=name, source="proc", kind="given", unit="g") for name in ("x", "y", "z"))


def arrays(windows: int = 240, steps: int = 16) -> dict[str, Any]:
    """Three channels, three classes, twelve people in the place of hosts, two episodes each."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, windows)
    person = np.arange(windows) % 12
    X = rng.normal(size=(windows, 3, steps)) + y[:, None, None]
    return {
        "X": X,
        "mask": rng.random(X.shape) > 0.1,
        "y": y,
        "episode_id": [f"p{p}-{i // 120}" for i, p in enumerate(person)],
        "host_id": [f"p{p}" for p in person],
        "channels": CHANNELS,
        "classes": CLASSES,
    }


@pytest.fixture
def made(tmp_path: Path) -> Dataset:
    return write_dataset(tmp_path / "d", **arrays(), shard_bytes=20_000)


def test_arrays_come_out_as_they_went_in(made: Dataset) -> None:
    given = arrays()
    found = made.load_tensor()
    assert found.x.shape == (240, 3, 16)
    assert made.classes == CLASSES
    assert len(made.shards) > 2
    expected = np.where(given["mask"], given["X"], np.nan).astype(np.float32)
    rows = {window.tobytes(): i for i, window in enumerate(expected)}
    order = [rows[window.tobytes()] for window in found.x]
    assert sorted(order) == list(range(240))
    np.testing.assert_array_equal(found.y, given["y"][order])
    np.testing.assert_array_equal(found.mask, given["mask"][order])
    assert list(found.episode_id) == [given["episode_id"][i] for i in order]
    np.testing.assert_array_equal(made.load_summary().x, summarise(found.x, made.schema))


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path, made: Dataset) -> None:
    again = write_dataset(tmp_path / "again", **arrays(), shard_bytes=20_000)
    assert again.digest == made.digest
    for path in (made.path / "shards").iterdir():
        assert path.read_bytes() == (again.path / "shards" / path.name).read_bytes()


def test_commands_work_on_arrays(made: Dataset) -> None:
    split = make_split(made, recipe_named("held_out_host", 60))
    assert len(split.held_out) == 2  # a sixth of twelve people
    assert split.sides["test"].phases.keys() == set(CLASSES)
    description = describe(made)
    assert description.by_phase.keys() == set(CLASSES)
    assert 0.85 < description.channels[0].observed < 0.95
    assert sum(len(y) for _, y in made.load_tensor_lazy(batch=7)) == 240


def test_names_that_look_like_markup_are_printed_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from trainer.evaluate.alone import judge
    from trainer.report.description import print_description, write_page

    given = {**arrays(), "profile": [r"$\frac$ [bold]"] * 240}
    made = write_dataset(tmp_path / "d.parquet", **given)
    assert open_dataset(made.path).digest == made.digest  # a folder is a folder, whatever it is called
    print_description(describe(made))
    assert r"$\frac$ [bold]" in capsys.readouterr().out
    write_page(tmp_path / "p.html", describe(made), judge(made), made.schema, {}, "x")


def test_time_recipe_refuses_arrays_without_times(made: Dataset) -> None:
    with pytest.raises(DatasetError, match="split held_out_time"):
        make_split(made, recipe_named("held_out_time", 60))


def test_arrays_are_refused_as_another_schema(made: Dataset, schema: FeatureSchema) -> None:
    with pytest.raises(SchemaMismatchError, match=f"expected {schema.hash[:12]}…"):
        open_dataset(made.path, schema)


def test_a_registry_of_given_channels_is_read_from_a_file_and_extracted_by_nothing(
    tmp_path: Path, schema: FeatureSchema
) -> None:
    path = tmp_path / "mine.toml"
    text = "".join(f'[[channel]]\nname = "{c.name}"\nsource = "proc"\nkind = "given"\nunit = "g"\n' for c in CHANNELS)
    path.write_text(text)
    assert read_channels(path) == CHANNELS
    path.write_text(text.replace('unit = "g"', 'unit = "g"\nfield = "utime"', 1))
    with pytest.raises(ConfigError, match="kind given takes a unit and nothing else"):
        read_channels(path)
    with pytest.raises(
        ConfigError, match=r"channel proc\.x: made elsewhere \(kind given\); expected channels that rows"
    ):
        Extractor(FeatureSchema(channels=CHANNELS))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.zeros((240, 3))}, r"X of shape \(240, 3\), float64; expected \(N, C, T\) numbers"),
        ({"X": np.full((240, 3, 16), "a")}, "X of shape .*<U1; expected"),
        ({"X": np.full((240, 3, 16), np.inf)}, "a value in X that float32 cannot hold"),
        ({"X": np.full((240, 3, 16), 1e308)}, "a value in X that float32 cannot hold"),
        ({"mask": np.ones((240, 3, 15), bool)}, r"mask of shape \(240, 3, 15\); expected \(240, 3, 16\)"),
        ({"y": np.zeros(239, int)}, r"y of shape \(239,\)"),
        ({"y": np.zeros(240)}, r"y of shape \(240,\), float64; expected \(240,\) whole numbers"),
        ({"y": np.full(240, 3)}, "labels from 3 to 3; expected 0 to 2, one per class"),
        ({"classes": ("a", "a", "b")}, "classes a, a, b; expected two at least, each once"),
        ({"channels": CHANNELS[:2]}, "2 channels for 3 rows of X"),
        ({"channels": (*CHANNELS[:2], CHANNELS[0])}, "a channel twice"),
        ({"episode_id": ["e"] * 240}, "an episode with more than one host_id; expected one: splits go by whole"),
        ({"episode_id": ["e"] * 3}, "3 values of episode_id; expected 240"),
        ({"host_id": ["a,b"] * 240}, "very long host_id; expected up to 128 printable characters, no comma or slash"),
        ({"host_id": ["a\nb"] * 240}, "an empty, unprintable or very long host_id"),
        ({"centre_ns": np.full(240, np.nan)}, "centre_ns of shape .* all of them finite"),
        ({"centre_ns": np.full(240, np.inf)}, "centre_ns of shape .* all of them finite"),
        ({"purity": np.full(240, 7)}, "purity from 7 to 7; expected 0 to 1"),
        ({"purity": np.ones(3)}, r"purity of shape \(3,\)"),
    ],
)
def test_arrays_that_make_no_sense_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        write_dataset(tmp_path / "d", **{**arrays(), **change})
    assert not (tmp_path / "d" / "dataset.json").exists()
