"""A build takes away the bundles that it replaces, and nothing else that an index may name."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from contracts.events.payloads import Interval
from trainer.bundle.index import Entry, Index
from trainer.bundle.release import BUNDLES, _remove_replaced

ALONE = Interval(value=0.5, low=None, high=None)


def index_of(bundle: str) -> Index:
    entry = Entry(
        bundle=bundle, form="", architecture="gbt", threat_model="oracle", macro_f1=ALONE, alarms=None, paired=None,
        model_macro_f1=0.5, argmax_agreement=1.0, max_probability_difference=0.0, artifact_bytes={}, size=1,
        bundle_bytes=1, signed_by=None, runtimes=(),
    )  # fmt: skip
    return Index(
        recipe="", held_out=(), untested_profiles=(), untested_classes=(), seen_samples=(), elapsed_time_alone=ALONE,
        warnings=(), schema_hash="", corpus_digest="", split_digest="", bundles=(entry,), refused={},
    )  # fmt: skip


@pytest.mark.parametrize("named", [f"{BUNDLES}/old.bundle", "../outside/old.bundle", "/outside/old.bundle"])
def test_only_a_bundle_of_its_own_folder_is_taken_away(tmp_path: Path, named: str) -> None:
    ours, outside = tmp_path / "out" / BUNDLES / "old.bundle", tmp_path / "outside" / "old.bundle"
    for path in (ours, outside):
        path.parent.mkdir(parents=True)
        path.touch()
    named = named.replace("/outside", str(outside.parent)) if named.startswith("/") else named
    (tmp_path / "out" / "index.json").write_bytes(msgspec.json.encode(index_of(named)))
    _remove_replaced(tmp_path / "out", [], {"gbt-oracle"})
    assert (ours.exists(), outside.exists()) == (False, True)


def test_a_bundle_of_a_kind_that_was_not_built_stays(tmp_path: Path) -> None:
    ours = tmp_path / BUNDLES / "old.bundle"
    ours.parent.mkdir()
    ours.touch()
    (tmp_path / "index.json").write_bytes(msgspec.json.encode(index_of(f"{BUNDLES}/old.bundle")))
    _remove_replaced(tmp_path, [], {"mlp-oracle"})
    assert ours.exists()
