"""A real `trainer build`: what it leaves, that it can be repeated, and that artifacts are their models."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from contracts.bundle.archive import read_bundle
from contracts.errors import DatasetError, DigestError, MissingError, SchemaMismatchError
from contracts.features.channels import view_of
from contracts.features.schema import FeatureSchema
from contracts.vocabulary import THREAT_MODELS, ThreatModel
from edge import scores
from edge.runtimes import NativeRuntime
from tests.compilers import counted, most_at_once
from tests.conftest import Build, run_build
from tests.pythons.found import HERE, interpreters_of
from trainer.architectures import names
from trainer.architectures.gbt import ROUNDS_QUICK, Gbt, GbtModel
from trainer.architectures.named import architecture_named
from trainer.compile.bars import AGREEMENT
from trainer.dataset.open import open_dataset
from trainer.dataset.samples import Samples
from trainer.dataset.shard import View
from trainer.fits.checkpoint import STAMP, load_checkpoint, read_curves, read_stamp
from trainer.split import load_split

pytestmark = pytest.mark.slow
NAMES = tuple(f"{architecture}-{threat_model}" for architecture in names.NAMES for threat_model in THREAT_MODELS)


def held_out(built: Build, schema: FeatureSchema, view: View, threat_model: ThreatModel) -> Samples:
    """The test side of a build."""
    dataset = open_dataset(built.out / "dataset", schema)
    split = load_split(built.out / "split-held_out_host.json", dataset.digest)
    samples = dataset.load(view, view_of(schema.channels, threat_model))
    return samples.of(split.test)


def checkpoint_of(built: Build, name: str) -> Path:
    return built.out / "checkpoints" / "held_out_host" / name / "full-0"


def test_build_leaves_twelve_signed_bundles_ranked_by_score_and_the_report(built: Build, schema: FeatureSchema) -> None:
    index = json.loads((built.out / "index.json").read_text())
    assert index["untested_profiles"] == ["low-and-slow", "scan-and-dial"]
    assert index["refused"] == {}
    found = [f"{entry['architecture']}-{entry['threat_model']}" for entry in index["bundles"]]
    assert sorted(found) == sorted(NAMES)
    assert len(found) == 12
    values = [entry["macro_f1"]["value"] for entry in index["bundles"]]
    assert values == sorted(values, reverse=True)
    for entry in index["bundles"]:
        bundle = read_bundle(built.out / entry["bundle"], schema=schema, trust=built.trust)
        assert bundle.key == "test"
        assert bundle.manifest.members.keys() >= {"scorecard.json", "schema.json", "reference.json"}
        f1 = entry["macro_f1"]
        assert 0 <= f1["low"] <= f1["value"] <= f1["high"] <= 1
        assert entry["paired"]["against"] != f"{entry['architecture']}-{entry['threat_model']}"
    best, second = index["bundles"][:2]
    assert best["paired"]["against"] == f"{second['architecture']}-{second['threat_model']}"
    assert np.isclose(best["paired"]["difference"]["value"], values[0] - values[1])
    assert (built.out / "report.html").stat().st_size > 100_000
    assert len(json.loads((built.out / "report.json").read_text())["recipes"][0]["models"]) == 12
    assert re.search(
        r"alarms are set for 1 false a clean day; the 0\.\d\d clean hours of the validation side can support a budget",
        built.output,
    )


OPTIONS = ("--threat-models", "realistic", "--architectures", "gbt,mlp")


@pytest.fixture(scope="module")
def again(built: Build, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Two of the twelve, built again on one core, where compilers are counted."""
    folder, cores = tmp_path_factory.mktemp("again"), os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        return run_build(built.store, folder / "out", built.key, *OPTIONS, env={"PATH": counted(folder)})
    finally:
        os.sched_setaffinity(0, cores)


def test_a_build_with_one_worker_runs_one_compiler_at_a_time(again: Build) -> None:
    assert most_at_once(again.out.parent) == 1


def test_build_with_the_same_seed_gives_the_same_weights_and_artifacts_on_one_core(
    built: Build, again: Build, schema: FeatureSchema
) -> None:
    for name, file in (("gbt", "model.ubj"), ("mlp", "weights.npz")):
        first, second = (checkpoint_of(one, f"{name}-realistic") / file for one in (built, again))
        assert first.read_bytes() == second.read_bytes(), name
        one, two = (
            read_bundle(some.bundle(f"{name}-realistic"), schema=schema, trust=some.trust) for some in (built, again)
        )
        for artifact in one.manifest.artifacts:
            assert one.members[artifact.member] == two.members[artifact.member], artifact.member


def untimed(report: Path) -> Any:
    """A report's figures but for what was timed: the artifacts are measured anew by every build."""
    found = json.loads(report.read_text())
    for model in found["candidates"]:
        for tried in model["tried"]:
            tried["verdict"] = tried["verdict"].partition("; slower")[0]
            for judged in tried["judged"]:
                assert 0 < judged.pop("p50_ms") <= judged.pop("p99_ms")
    return found


def test_build_run_again_keeps_what_is_done_and_packs_the_same_bytes(again: Build) -> None:
    before = {path.name: path.read_bytes() for path in (again.out / "bundles").iterdir()}
    report = untimed(again.out / "report.json")
    once_more = run_build(again.store, again.out, again.key, *OPTIONS)
    assert "fit: 6 of 6 kept from an earlier run" in once_more.output
    assert "evaluate: kept from an earlier run" in once_more.output
    assert len(before) == 2
    assert {path.name: path.read_bytes() for path in (again.out / "bundles").iterdir()} == before
    assert untimed(again.out / "report.json") == report


@pytest.mark.parametrize("threat_model", ["realistic", "oracle"])
def test_gbt_artifact_equals_xgboost_with_values_missing(
    built: Build, schema: FeatureSchema, threat_model: ThreatModel
) -> None:
    dataset = open_dataset(built.out / "dataset", schema)
    x = dataset.load_summary(view_of(schema.channels, threat_model)).x
    model, native = gbt_of(built, schema, threat_model)
    np.testing.assert_allclose(native.predict_many(x), model.predict(x), atol=1e-5)
    thinned = x.copy()
    thinned[np.random.default_rng(0).random(x.shape) < 0.2] = np.nan
    thinned[:20] = np.nan
    np.testing.assert_allclose(native.predict_many(thinned), model.predict(thinned), atol=1e-5)


def test_gbt_artifact_equals_xgboost_on_every_threshold(built: Build, schema: FeatureSchema) -> None:
    """A value that equals a threshold, and its neighbours: a threshold printed with too few digits shows here."""
    model, native = gbt_of(built, schema, "realistic")
    trees = json.loads(model.booster.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]
    splits = {
        (feature, np.float32(value))
        for tree in trees
        for feature, value, left in zip(
            tree["split_indices"], tree["split_conditions"], tree["left_children"], strict=True
        )
        if left != -1
    }
    assert splits
    base = held_out(built, schema, "summary", "realistic").x
    rows = np.tile(base, (-(-len(splits) * 3 // len(base)), 1))[: len(splits) * 3].copy()
    for i, (feature, value) in enumerate(sorted(splits)):
        for k, near in enumerate((np.nextafter(value, -np.inf), value, np.nextafter(value, np.inf))):
            rows[3 * i + k, feature] = near
    np.testing.assert_allclose(native.predict_many(rows), model.predict(rows), atol=1e-5)


def gbt_of(built: Build, schema: FeatureSchema, threat_model: ThreatModel) -> tuple[GbtModel, NativeRuntime]:
    """The trained model, as many rounds of it as ship, and its native artifact."""
    folder = checkpoint_of(built, f"gbt-{threat_model}")
    model = load_checkpoint(Gbt(), folder, schema, read_stamp(folder))
    assert isinstance(model, GbtModel)
    bundle = read_bundle(built.bundle(f"gbt-{threat_model}"), schema=schema, trust=built.trust)
    rounds = re.fullmatch(r"(?:all )?(\d+) rounds", bundle.manifest.form)
    assert rounds is not None, bundle.manifest.form
    shipped = GbtModel(model.booster[: int(rounds[1])])
    return shipped, NativeRuntime(bundle.members[bundle.manifest.artifacts[0].member], classes=5)


def test_build_says_what_elapsed_time_alone_reaches(built: Build) -> None:
    index = json.loads((built.out / "index.json").read_text())
    alone = index["elapsed_time_alone"]
    assert 0 <= alone["low"] <= alone["value"] <= alone["high"] <= 1
    assert f"elapsed time alone, on the same windows: macro F1 {alone['value']:.3f}" in built.output
    assert index["seen_samples"] == ["cpu-saturate/s03"]


def test_a_smaller_build_replaces_only_its_own_kind_with_no_more_compilers_than_workers(
    built: Build, tmp_path: Path
) -> None:
    import shutil

    out = tmp_path / "out"
    shutil.copytree(built.out, out)
    (out / "bundles" / "mine.bundle").write_bytes(b"")
    before = {path.name for path in (out / "bundles").iterdir()}
    options = ("--architectures", "gbt", "--threat-models", "oracle", "--workers", "2")
    run_build(built.store, out, built.key, *options, env={"PATH": counted(tmp_path)})
    assert most_at_once(tmp_path) <= 2
    after = {path.name for path in (out / "bundles").iterdir()}
    assert {name for name in before if not name.startswith("gbt-oracle")} < after
    assert sum(name.startswith("gbt-oracle") for name in after) == 1


def test_gbt_checkpoint_holds_the_best_rounds_only(built: Build, schema: FeatureSchema) -> None:
    folder = checkpoint_of(built, "gbt-oracle")
    model = load_checkpoint(Gbt(), folder, schema, read_stamp(folder))
    assert isinstance(model, GbtModel)
    curves = read_curves(folder)
    assert model.booster.num_boosted_rounds() == curves.best + 1 <= len(curves.loss) <= ROUNDS_QUICK


@pytest.mark.parametrize("name", NAMES)
def test_scorecard_is_of_the_artifact_on_the_held_out_host(built: Build, schema: FeatureSchema, name: str) -> None:
    """Told again from the bundle alone, by the edge's runtime, over the held-out windows."""
    from edge.runtimes import open_runtime

    bundle = read_bundle(built.bundle(name), schema=schema, trust=built.trust)
    card = json.loads(bundle.members["scorecard.json"])
    test = held_out(built, schema, bundle.manifest.view, bundle.manifest.threat_model)
    decided = open_runtime(bundle).predict_many(test.x).argmax(axis=1)
    cluster = np.unique(test.episode_id.astype(str), return_inverse=True)[1]
    confusion = scores.confusions(test.y, decided, cluster, 5)
    assert np.isclose(card["macro_f1"]["value"], scores.macro_f1(confusion.sum(axis=0)))
    assert card["confusion"] == confusion.sum(axis=0).tolist()
    assert card["argmax_agreement"] >= AGREEMENT
    assert card["windows"] == len(test.y)
    assert set(test.host_id) == {"arm-1"} == card["per_host"].keys()


def test_net_artifacts_are_small_run_in_every_interpreter_and_decide_like_their_models(built: Build) -> None:
    index = json.loads((built.out / "index.json").read_text())
    nets = [entry for entry in index["bundles"] if entry["architecture"] != "gbt"]
    assert len(nets) == 10
    for entry in nets:
        assert entry["argmax_agreement"] >= AGREEMENT
        assert {one["runtime"].split()[0] for one in entry["runtimes"]} == set(interpreters_of(HERE))
        assert entry["size"] < 150_000 or entry["form"] == "float32"


@pytest.mark.parametrize("name", ["gbt-realistic", "cnn-oracle"])
def test_checkpoint_of_another_schema_data_or_split_is_refused(built: Build, schema: FeatureSchema, name: str) -> None:
    folder = checkpoint_of(built, name)
    architecture = architecture_named(name.split("-")[0])
    stamp = read_stamp(folder)
    other = msgspec.structs.replace(schema, stride_ns=2 * schema.stride_ns)
    with pytest.raises(SchemaMismatchError, match=r"checkpoint\.json: feature schema \w{12}…; expected \w{12}…"):
        load_checkpoint(architecture, folder, other, stamp)
    for field in ("dataset_digest", "split_digest"):
        with pytest.raises(DatasetError, match=rf"checkpoint\.json: {field} \w{{12}}…; expected 000000000000…"):
            load_checkpoint(architecture, folder, schema, msgspec.structs.replace(stamp, **{field: "0" * 64}))
    with pytest.raises(DatasetError, match="seed 0; expected 7; fit it again"):
        load_checkpoint(architecture, folder, schema, msgspec.structs.replace(stamp, seed=7))


def test_checkpoint_that_is_torn_or_changed_is_refused_before_its_library_sees_it(
    built: Build, schema: FeatureSchema, tmp_path: Path
) -> None:
    import shutil

    for name, file in (("cnn-oracle", "weights.npz"), ("gbt-oracle", "model.ubj")):
        folder = tmp_path / name
        shutil.copytree(checkpoint_of(built, name), folder)
        architecture, stamp = architecture_named(name.split("-")[0]), read_stamp(folder)
        data = (folder / file).read_bytes()
        (folder / file).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(DigestError, match=rf"{file}: other bytes; expected sha256 \w{{12}}…; fit it again"):
            load_checkpoint(architecture, folder, schema, stamp)
        (folder / file).unlink()
        with pytest.raises(MissingError, match="no such file"):
            load_checkpoint(architecture, folder, schema, stamp)
        (folder / file).write_bytes(b"PK hello")
        with pytest.raises(DatasetError, match=rf"{file}: unreadable"):
            architecture.load(folder)
        (folder / STAMP).write_text("{")
        with pytest.raises(DatasetError, match=r"checkpoint\.json: .*; expected a checkpoint's stamp"):
            load_checkpoint(architecture, folder, schema, stamp)
