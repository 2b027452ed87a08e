"""The bundled recordings: accepted whole, made by the recipe beside them, and without a clock in them."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest

from contracts.features.schema import FeatureSchema
from contracts.telemetry.episode import find_episodes, read_manifest
from contracts.telemetry.labels import read_labels
from edge.lab.plan import EVERYDAY, plan
from edge.lab.recipe import read_recipe
from tests.recordings import CORPUS, ORDERED
from tests.sweeping import run
from tests.trainer.conftest import extracted
from trainer.evaluate.alone import ELAPSED, NEAR, ORDER, judge

RECIPE = Path(__file__).parents[2] / "firmware-config" / "lab" / "corpus.toml"
MOST_BYTES = 40 << 20


def test_corpus_is_swept_accepted(tmp_path: Path) -> None:
    census = run(CORPUS, tmp_path / "index.parquet", workers=2)
    assert census.verdicts == {"accepted": 102, "degraded": 0, "rejected": 0, "errored": 0}, census.reasons


def test_corpus_is_what_its_recipe_and_seed_make() -> None:
    """Orders that a guest was given later than planned, on a busy machine, may be late by a second, and no more."""
    planned = {one.episode_id: one for one in plan(read_recipe(RECIPE), 1)}
    for folder in find_episodes(CORPUS):
        manifest, one = read_manifest(folder), planned.pop(folder.name)
        assert manifest.sample["plan_sha256"] == one.digest
        assert (manifest.host_id, manifest.profile, manifest.sample_name) == (one.host.id, one.profile, one.sample_name)
        labels = read_labels(folder, manifest)
        assert [label.phase for label in labels] == [mark.phase for mark in one.marks]
        for label, mark in zip(labels, one.marks, strict=True):
            assert abs((label.t_wall_ns - manifest.started_wall_ns) / 1e6 - mark.at_ms) < 1000
    assert not planned


def test_corpus_has_the_hours_hosts_and_variants_that_its_page_says() -> None:
    manifests = [read_manifest(folder) for folder in find_episodes(CORPUS)]
    hours = Counter[bool]()
    for manifest in manifests:
        hours[manifest.profile == EVERYDAY] += manifest.ended_wall_ns - manifest.started_wall_ns
    assert hours.total() >= 6 * 3600e9
    assert hours[True] >= 2 * 3600e9
    guests = {manifest.host_id: manifest.host["guest"] for manifest in manifests}
    assert len(guests) >= 5
    assert {guest["architecture"] for guest in guests.values()} == {"amd64", "arm64"}
    assert min(guest["cores"] for guest in guests.values()) == 0.5
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) <= MOST_BYTES


def test_elapsed_time_alone_is_worth_nothing_on_any_host_of_the_corpus(tmp_path: Path, schema: FeatureSchema) -> None:
    found = judge(extracted(CORPUS, tmp_path / "d", schema, workers=2))
    assert len(found.chance) == 6
    (elapsed,) = (one for one in found.alone if one.what == ELAPSED)
    for host, value in elapsed.by_host.items():
        assert value <= found.chance[host] + NEAR, host
    assert "elapsed time" not in {what for what, _, _ in found.leaks()}
    assert {one.what for one in found.alone} >= {ELAPSED, ORDER, "proc.rss", "guest.memory_free"}


def test_earlier_recordings_are_called_a_leak(tmp_path: Path, schema: FeatureSchema) -> None:
    """The standing example: phases in one order, with similar lengths. Every host can be held out."""
    found = judge(extracted(ORDERED, tmp_path / "d", schema))
    assert (len(found.chance), found.left_out) == (3, {})
    above = {(what, host): value for what, host, value in found.leaks()}
    assert {host for what, host in above if what == ELAPSED} == set(found.chance)
    assert all(value > 0.4 for (what, _), value in above.items() if what == ELAPSED)
    (order,) = (one for one in found.alone if one.what == ORDER)
    assert min(order.by_host.values()) > 0.9


def test_phases_of_the_corpus_come_in_every_order() -> None:
    seen = set()
    for folder in find_episodes(CORPUS):
        labels = read_labels(folder, read_manifest(folder))
        seen |= {(before.phase, after.phase) for before, after in itertools.pairwise(labels)}
    recipe = read_recipe(RECIPE)
    assert seen == {(phase, next) for phase, table in recipe.phases.items() for next in table.next}
    assert len({read_labels(folder, read_manifest(folder))[0].phase for folder in find_episodes(CORPUS)}) == 5
    ordered = {tuple(label.phase for label in read_labels(f, read_manifest(f))) for f in find_episodes(ORDERED)}
    assert len(ordered) == 1


@pytest.mark.parametrize("store", [CORPUS, ORDERED], ids=["corpus", "ordered"])
def test_page_beside_recordings_is_there(store: Path) -> None:
    assert (store / "README.md").read_text().startswith("# ")
