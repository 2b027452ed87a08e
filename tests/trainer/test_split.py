"""Splits: whole episodes, one rule for test and validation, nothing leaks, and refusals that help."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import ConfigError, DatasetError
from contracts.features.schema import SECOND, FeatureSchema
from contracts.vocabulary import PHASES
from trainer.dataset.dataset import Dataset
from trainer.dataset.samples import Samples
from trainer.split import RECIPES, load_split, make_split, recipe_named, save_split
from trainer.split.episodes import EpisodeFacts
from trainer.split.held_out_time import HeldOutTime, _moment, _text
from trainer.split.recipe import CannotError


class Changed(Dataset):
    """The real dataset, with other ids or labels."""

    def __init__(self, dataset: Dataset, ids: Samples) -> None:
        super().__init__(dataset.path, dataset.schema, dataset.classes, dataset.digest, dataset.shards)
        self._ids = ids

    def load_ids(self) -> Samples:
        return self._ids


def only(dataset: Dataset, keep: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Dataset:
    """Whole episodes of a dataset, chosen by a mask over windows."""
    ids = dataset.load_ids()
    return Changed(dataset, ids.of(set(ids.episode_id[keep])))


@pytest.mark.parametrize("recipe", RECIPES)
def test_split_goes_by_whole_episodes_and_keeps_every_one(dataset: Dataset, recipe: str) -> None:
    split = make_split(dataset, recipe_named(recipe, 60))
    sides = (split.train, split.validation, split.test, split.embargoed)
    everything = [episode for side in sides for episode in side]
    assert sorted(everything) == sorted(set(dataset.load_ids().episode_id))
    assert all(list(side) == sorted(side) for side in sides)
    assert all(sides[:3])


@pytest.mark.parametrize("recipe", RECIPES)
def test_split_has_every_profile_and_phase_to_learn_from(dataset: Dataset, recipe: str) -> None:
    split = make_split(dataset, recipe_named(recipe, 60))
    ids = dataset.load_ids()
    train, validation = ids.of(split.train), ids.of(split.validation)
    assert set(train.profile) == set(ids.profile)
    assert set(train.y) == set(validation.y) == set(range(len(PHASES)))
    for name, side in (("train", train), ("validation", validation), ("test", ids.of(split.test))):
        told = split.sides[name]
        assert told.windows == len(side.y) == sum(told.phases.values()) == sum(told.profiles.values())
        assert told.episodes == len(set(side.episode_id))


@pytest.mark.parametrize("recipe", RECIPES)
def test_split_is_the_same_each_time_and_another_for_another_recipe(dataset: Dataset, recipe: str) -> None:
    first, second = (make_split(dataset, recipe_named(recipe, 60)) for _ in range(2))
    assert first == second
    assert first.digest not in {make_split(dataset, recipe_named(r, 60)).digest for r in RECIPES if r != recipe}


@pytest.mark.parametrize("host", [None, "micro-1", "pc-half", "arm-1"])
def test_held_out_host_shares_no_host_between_any_two_sides(dataset: Dataset, host: str | None) -> None:
    split = make_split(dataset, recipe_named("held_out_host", 60), host)
    ids = dataset.load_ids()
    hosts = [set(ids.of(side).host_id) for side in (split.train, split.validation, split.test)]
    assert all(len(some) == 1 for some in hosts)
    assert len(set().union(*hosts)) == 3
    assert hosts[2] == set(split.held_out) == {host or "arm-1"}
    assert hosts[1] == set(split.held_out_validation)
    expected = ("cpu-saturate",) if host in (None, "arm-1") else ()
    assert split.untested_profiles == expected
    assert "scan-and-dial/s01" in split.seen_samples


def test_held_out_sample_shares_no_variant_between_any_two_sides(dataset: Dataset) -> None:
    split = make_split(dataset, recipe_named("held_out_sample", 60))
    ids = dataset.load_ids()
    variants = []
    for side in (split.train, split.validation, split.test):
        some = ids.of(side)
        variants.append({f"{p}/{s}" for p, s in zip(some.profile, some.sample_name, strict=True)})
    assert not any(a & b for a, b in itertools.combinations(variants, 2))
    assert variants[2] == set(split.held_out)
    assert split.seen_samples == ()
    assert split.untested_profiles == ()


def test_held_out_sample_names_profiles_that_it_cannot_test(dataset: Dataset) -> None:
    """A profile with one variant stays in train, and is carried along as untested."""
    ids = dataset.load_ids()
    keep = (ids.profile != "bulk-upload") | (ids.sample_name == "s04")
    split = make_split(only(dataset, keep), recipe_named("held_out_sample", 60))
    assert split.untested_profiles == ("bulk-upload",)
    assert not any(name.startswith("bulk-upload/") for name in split.held_out)


@pytest.mark.parametrize("embargo", [0, 60, 300])
def test_held_out_time_keeps_the_embargo_between_sides(dataset: Dataset, embargo: int) -> None:
    split = make_split(dataset, recipe_named("held_out_time", embargo))
    ids, half = dataset.load_ids(), 5 * SECOND

    def span(side: tuple[str, ...]) -> tuple[int, int]:
        centres = ids.of(side).centre_ns
        return int(centres.min()) - half, int(centres.max()) + half

    train, validation, test = span(split.train), span(split.validation), span(split.test)
    assert train[1] + embargo * SECOND <= validation[0]
    assert validation[1] + embargo * SECOND <= test[0]
    assert split.embargo_s == embargo
    assert len(split.embargoed) >= 2  # guests were recorded in parallel: some overlap each cut
    assert set(split.sides) == {"train", "validation", "test"}


def test_held_out_time_takes_a_moment(dataset: Dataset) -> None:
    split = make_split(dataset, recipe_named("held_out_time", 60), "2026-11-29T00:52:00Z")
    assert split.held_out == ("2026-11-29T00:52:00Z",)
    with pytest.raises(
        DatasetError, match=r"'noon' is no moment such as 2026-11-22T14:00:00Z or .*hold out one of: 2026"
    ):
        make_split(dataset, recipe_named("held_out_time", 60), "noon")


@given(st.integers(0, 2**62))
def test_moments_go_through_text_to_the_microsecond(unix_ns: int) -> None:
    assert _moment(_text(unix_ns)) == unix_ns // 1000 * 1000


@given(st.datetimes(timezones=st.timezones()), st.sampled_from("T "), st.integers(0, 4))
def test_a_moment_is_the_same_in_every_zone_and_with_any_number_of_digits(
    moment: datetime.datetime, between: str, zeros: int
) -> None:
    text = moment.isoformat(between, timespec="microseconds")
    whole, offset = text[:26], text[26:]
    expected = (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1)
    assert _moment(text) == _moment(whole + "0" * zeros + offset) == expected * 1000
    assert _moment(whole + "Z") == _moment(whole) == _moment(whole + "+00:00")


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("2026-11-22", "2026-11-22T00:00:00Z"),
        ("2026-11-22T14:00", "2026-11-22T14:00:00Z"),
        ("2026-11-22T14:00:00.5+02:00", "2026-11-22T12:00:00.500000Z"),
        ("2026-11-22T14:00:00.9999999999Z", "2026-11-22T14:00:00.999999Z"),
        ("2026-11-22 14:00:00.25", "2026-11-22T14:00:00.25Z"),
    ],
)
def test_a_moment_may_be_written_in_several_ways(one: str, same: str) -> None:
    assert _moment(one) == _moment(same)


@given(
    st.one_of(
        st.sampled_from(
            [
                "",
                "noon",
                "1795356000",
                "20261122",
                "2026-W47-7",
                "2026-11-22T",
                "2026-11-22x14:00",
                "2026-11-22114:00",
                "2026-11-22T14:00:00.-5",
                "2026-11-22T14:00:00.+5",
                "2026-11-22T14:00:00. 5",
                "2026-11-22T14:00:00.1_0",
                "2026-11-22T14:00:00,5",
                "2026-11-22T14:00:00.Z",
                "2026-11-22T14:00:00ZZ",
                "2026-13-22",
                "2026-11-31",
                "2026-11-22T25:00",
                "2026-11-22T14:00:61Z",
                "２０２６-11-22",
                "2026-11-22\n",
            ]
        ),
        st.text().filter(lambda text: not re.match(r"\d{4}-\d\d-\d\d", text)),
    )
)
def test_what_is_no_moment_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(CannotError) as refused:
        _moment(text)
    assert str(refused.value) == f"{text!r} is no moment such as 2026-11-22T14:00:00Z or 2026-11-22T16:00:00.5+02:00"


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(10, 400)), min_size=2, max_size=30),
    st.integers(0, 300),
    st.integers(0, 5000),
)
def test_held_out_time_never_lets_two_sides_come_closer_than_the_embargo(
    spans: list[tuple[int, int]], embargo: int, moment: int
) -> None:
    episodes = [
        EpisodeFacts(str(i), "h", "p", "s", start * SECOND, (start + length) * SECOND, 1, (1,))
        for i, (start, length) in enumerate(spans)
    ]
    try:
        cut = HeldOutTime(embargo).cut(episodes, _text(moment * SECOND))
    except CannotError:
        return
    assert len(cut.rest) + len(cut.held_out) + len(cut.dropped) == len(episodes)
    latest = max(episode.end_ns for episode in cut.rest)
    assert latest + embargo * SECOND <= min(episode.start_ns for episode in cut.held_out)


def test_split_refuses_one_host_and_says_what_there_is(dataset: Dataset) -> None:
    ids = dataset.load_ids()
    alone = only(dataset, ids.host_id == "micro-1")
    with pytest.raises(DatasetError, match="split held_out_host: 8 episodes on micro-1 leave nothing to hold out"):
        make_split(alone, recipe_named("held_out_host", 60))


def test_split_refuses_two_hosts_for_want_of_a_third_to_tune_by(dataset: Dataset) -> None:
    ids = dataset.load_ids()
    with pytest.raises(DatasetError, match="the training side cannot spare a validation side"):
        make_split(only(dataset, ids.host_id != "pc-half"), recipe_named("held_out_host", 60))


def test_split_lists_the_hosts_that_could_be_held_out(dataset: Dataset) -> None:
    with pytest.raises(
        DatasetError,
        match=r"no host nowhere among arm-1, micro-1, pc-half; .* hold out one of: arm-1, pc-half, micro-1$",
    ):
        make_split(dataset, recipe_named("held_out_host", 60), "nowhere")
    ids = dataset.load_ids()
    keep = (ids.profile != "cpu-saturate") | (ids.host_id == "micro-1")  # micro-1 alone ran it
    with pytest.raises(DatasetError, match="no episode of profile cpu-saturate in the training side.*: arm-1"):
        make_split(only(dataset, keep), recipe_named("held_out_host", 60), "micro-1")


def test_split_refuses_a_corpus_without_a_phase(dataset: Dataset) -> None:
    ids = dataset.load_ids()
    armless = Changed(dataset, dataclasses.replace(ids, y=np.where(ids.y == 1, 0, ids.y)))
    for recipe in RECIPES:
        with pytest.raises(DatasetError, match="no window of armed in "):
            make_split(armless, recipe_named(recipe, 60))


def test_split_refuses_samples_it_does_not_know(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="no sample io-walk/s09 among bulk-upload/s02, "):
        make_split(dataset, recipe_named("held_out_sample", 60), "io-walk/s09")
    with pytest.raises(ConfigError, match="no recipe 'random'; expected held_out_host, held_out_sample, held_out_time"):
        recipe_named("random", 60)


def test_split_is_saved_for_people_and_refused_when_edited_or_of_another_dataset(
    tmp_path: Path, dataset: Dataset
) -> None:
    split = make_split(dataset, recipe_named("held_out_host", 60))
    path = tmp_path / "s.json"
    save_split(split, path)
    assert load_split(path, dataset.digest) == split
    assert path.read_text().count("\n") > 50  # a line each, to be read and compared
    with pytest.raises(DatasetError, match=r"a split of dataset \w{12}…; expected of 000000000000…"):
        load_split(path, "0" * 64)
    whole = json.loads(path.read_text())
    whole["split"]["train"].append(whole["split"]["test"].pop())
    path.write_text(json.dumps(whole))
    with pytest.raises(DatasetError, match=rf"digest \w{{12}}…; expected {re.escape(split.digest[:12])}…"):
        load_split(path, dataset.digest)
    path.write_text("{")
    with pytest.raises(DatasetError, match="expected a split"):
        load_split(path, dataset.digest)


def test_split_is_of_the_schema_it_was_made_with(dataset: Dataset, schema: FeatureSchema) -> None:
    assert dataset.schema.hash == schema.hash
