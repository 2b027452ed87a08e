"""Arrays from elsewhere through every command: fit, evaluate, report, build; and what each refuses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import f1_score

from contracts.bundle.archive import read_bundle
from contracts.bundle.keys import load_trusted_keys
from contracts.errors import BundleError
from contracts.features.schema import FeatureSchema
from edge.model.opened import activate
from edge.runtimes import open_runtime
from tests.brokers import program
from tests.conftest import Build
from tests.trainer import sets
from tests.trainer.sets import CLASSES, motion_set
from tests.trainer.test_engine import cluster
from trainer.dataset.dataset import Dataset
from trainer.dataset.from_arrays import write_dataset

pytestmark = pytest.mark.slow


def trainer(*arguments: object) -> subprocess.CompletedProcess[str]:
    """One process: what is fitted here is small, and each worker would load TensorFlow for itself."""
    command = [sys.executable, "-m", "trainer.cli", *map(str, arguments)]
    if arguments[0] != "report" and "--cluster" not in arguments:
        command += ["--workers", "1"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def motion(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return motion_set(tmp_path_factory.mktemp("motion") / "set", windows=240)


@pytest.fixture(scope="module")
def fitted(motion: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """gbt and mlp, two seeds, two recipes."""
    out = tmp_path_factory.mktemp("fitted") / "out"
    options = ("--architectures", "gbt,mlp", "--quick", "--seed", "0,1", "--recipe", "held_out_host")
    done = trainer("fit", motion.path, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    assert f"next: trainer evaluate {out}" in done.stdout
    done = trainer("evaluate", out)
    assert done.returncode == 0, done.stderr
    assert "elapsed time alone: macro F1" in done.stdout
    done = trainer("report", out)
    assert done.returncode == 0, done.stderr
    return out


def test_own_arrays_are_learned_judged_and_reported(fitted: Path, motion: Dataset) -> None:
    found = json.loads((fitted / "evaluation.json").read_text())
    assert found["classes"] == list(CLASSES)
    (recipe,) = found["recipes"]
    assert recipe["untested_classes"] == []
    assert {model["title"] for model in recipe["models"]} == {
        f"{a}-{t}" for a in ("gbt", "mlp") for t in ("realistic", "oracle")
    }
    for model in recipe["models"]:
        assert model["by_seed"].keys() == {"0", "1"}
        assert model["alarms"] is None  # nobody is infected here
        assert model["detection"] is None
        assert model["per_class"].keys() == set(CLASSES)
        assert 0 <= model["macro_f1"]["value"] <= 1
    page = (fitted / "report.html").read_text()
    assert "walking" in page
    assert "Median delay" not in page
    assert json.loads((fitted / "report.json").read_text()) == found


def test_predictions_are_kept_and_give_the_same_score(fitted: Path) -> None:
    found = json.loads((fitted / "evaluation.json").read_text())["recipes"][0]
    for model in found["models"]:
        table = pq.read_table(fitted / "predictions" / "held_out_host" / f"{model['title']}.parquet").to_pydict()
        p = np.stack([table[f"p_{name}"] for name in CLASSES], axis=1)
        truth = [CLASSES.index(name) for name in table["label"]]
        assert set(table["host_id"]) == set(found["split"]["held_out"])
        assert np.isclose(f1_score(truth, p.argmax(axis=1), average="macro"), model["macro_f1"]["value"])


def test_build_takes_a_dataset_and_packs_bundles_that_no_agent_mistakes_for_the_labs(
    fitted: Path, motion: Dataset, signing_key: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(fitted, tmp_path / "out")
    options = ("--architectures", "mlp", "--threat-models", "oracle", "--quick", "--seed", "0,1", "--allow-float")
    done = trainer("build", motion.path, "--out", out, *options, "--key", signing_key)
    assert done.returncode == 0, done.stderr
    assert "kept from an earlier run" in done.stderr
    trust = load_trusted_keys(signing_key.parent)
    (path,) = (out / "bundles").iterdir()
    bundle = read_bundle(path, schema=motion.schema, trust=trust)
    assert bundle.manifest.phases == CLASSES
    windows, expected = (
        np.frombuffer(bundle.members[f"golden-{name}.f32"], "<f4").reshape(6, -1)
        for name in ("windows", "probabilities")
    )
    assert expected.shape == (6, len(CLASSES))
    np.testing.assert_allclose(open_runtime(bundle).predict_many(windows), expected, atol=bundle.manifest.tolerance)
    with pytest.raises(BundleError, match="phases walking, sitting, lying; expected clean, armed"):
        activate(path, motion.schema, trust)


def test_a_dataset_that_changed_after_the_fit_is_refused(fitted: Path, motion: Dataset, tmp_path: Path) -> None:
    shutil.copytree(fitted, tmp_path / "out")
    other = motion_set(tmp_path / "other", windows=240, seed=1)
    fits = json.loads((tmp_path / "out" / "fits.json").read_text())
    (tmp_path / "out" / "fits.json").write_text(json.dumps({**fits, "dataset": "../other"}))
    refused(
        trainer("evaluate", tmp_path / "out"),
        f"dataset {other.digest[:12]}…; expected {motion.digest[:12]}…",
        "fit again",
    )
    (tmp_path / "out" / "fits.json").write_text("{")
    refused(trainer("evaluate", tmp_path / "out"), "expected what `trainer fit` wrote; fit again")
    refused(trainer("evaluate", tmp_path / "nowhere"), "fits.json: no such file")
    refused(trainer("report", tmp_path / "nowhere"), "evaluation.json: no such file")
    (tmp_path / "out" / "evaluation.json").write_text('{"format": 1}')
    refused(trainer("report", tmp_path / "out"), "expected what `trainer evaluate` wrote; evaluate again")


def test_a_missing_or_changed_model_is_refused_by_evaluate(fitted: Path, motion: Dataset, tmp_path: Path) -> None:
    shutil.copytree(fitted, tmp_path / "out")
    fits = json.loads((tmp_path / "out" / "fits.json").read_text())
    (tmp_path / "out" / "fits.json").write_text(json.dumps({**fits, "dataset": str(motion.path)}))
    trees = tmp_path / "out" / "checkpoints" / "held_out_host" / "gbt-oracle" / "full-0" / "model.ubj"
    data = trees.read_bytes()
    trees.write_bytes(data[:-1] + b"x")
    refused(trainer("evaluate", tmp_path / "out"), "model.ubj: other bytes; expected sha256")
    trees.unlink()
    refused(trainer("evaluate", tmp_path / "out"), "model.ubj: no such file")


def test_one_host_cannot_be_fitted(tmp_path: Path) -> None:
    lonely = motion_set(tmp_path / "set", windows=60, people=1)
    refused(trainer("fit", lonely.path, "--out", tmp_path / "out"), "1 episodes on person-0 leave nothing to hold out")


def test_two_threat_models_that_see_the_same_are_one(tmp_path: Path) -> None:
    given = sets.motion(windows=120)
    given["channels"] = tuple(msgspec.structs.replace(channel, source="proc") for channel in given["channels"])
    made = write_dataset(tmp_path / "set", given.pop("X"), given.pop("mask"), given.pop("y"), **given)
    done = trainer("fit", made.path, "--out", tmp_path / "out", "--architectures", "gbt", "--quick")
    assert done.returncode == 0, done.stderr
    jobs = json.loads((tmp_path / "out" / "fits.json").read_text())["jobs"]
    assert {job["threat_model"] for job in jobs} == {"realistic"}
    assert "oracle sees what realistic sees, and is left out" in done.stderr


def test_a_threat_model_that_would_see_nothing_is_refused(tmp_path: Path, signing_key: Path) -> None:
    given = sets.motion(windows=120)
    given["channels"] = tuple(msgspec.structs.replace(channel, source="guest") for channel in given["channels"])
    made = write_dataset(tmp_path / "set", given.pop("X"), given.pop("mask"), given.pop("y"), **given)
    words = "no channel that realistic may see; expected one; add one, or leave that threat model out"
    refused(trainer("fit", made.path, "--out", tmp_path / "out"), words)
    refused(trainer("build", made.path, "--out", tmp_path / "out", "--key", signing_key), words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--recipe", "held_out_host,held_out_sample", "--held-out", "x"], "--held-out: one thing for 2 recipes"),
        (["--recipe", "random"], "no recipe 'random'"),
        (["--held-out", "person-99"], "no host person-99"),
        (["--seed", "1,x"], "--seed: 'x' is no whole number"),
        (["--architectures", "svm"], "no architecture 'svm'; expected some of gbt, mlp, cnn, gru, lstm, transformer"),
        (["--tune", "0"], "'0' is no whole number from 1"),
    ],
)
def test_fit_refuses_options_that_make_no_sense(
    motion: Dataset, tmp_path: Path, options: list[str], words: str
) -> None:
    refused(trainer("fit", motion.path, "--out", tmp_path / "out", *options), words)


def test_tune_tries_settings_on_validation_within_its_budget_and_goes_on(motion: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--architectures", "gbt", "--threat-models", "oracle", "--quick", "--max-kb", "40")
    done = trainer("fit", motion.path, "--out", out, *options, "--tune", "4")
    assert done.returncode == 0, done.stderr

    def journal() -> list[str]:
        lines = (out / "tuning" / "held_out_host-gbt-oracle.journal").read_text().splitlines()
        return [line for line in lines if '"trial_id"' in line]

    found = json.loads((out / "tuning" / "held_out_host-gbt-oracle.json").read_text())
    assert found["trials"] == 4
    assert found["validation"] >= found["default"] or found["too_costly"]
    fits = json.loads((out / "fits.json").read_text())
    assert fits["tuned"]
    assert all(job["settings"] == found["settings"] for job in fits["jobs"])
    trials = journal()
    done = trainer("fit", motion.path, "--out", out, *options, "--tune", "4")
    assert done.returncode == 0, done.stderr
    assert journal() == trials  # nothing is tried twice
    assert json.loads((out / "tuning" / "held_out_host-gbt-oracle.json").read_text()) == found
    refused(
        trainer("fit", motion.path, "--out", tmp_path / "x", *options[:-1], "1", "--tune", "1"),
        "tuning gbt-oracle: none of 1 settings within 1000 bytes",
    )


def test_the_labs_report_opens_with_elapsed_time_and_shows_all_twelve(built: Build) -> None:
    found = json.loads((built.out / "evaluation.json").read_text())
    (recipe,) = found["recipes"]
    elapsed = recipe["leaks"]["elapsed_time_alone"]
    page = (built.out / "report.html").read_text()
    text = page[: page.index("<h3>Leaderboard")]
    assert "<b>Elapsed time alone</b>" in text
    assert f"{elapsed['value']:.3f} [{elapsed['low']:.3f}, {elapsed['high']:.3f}]" in text
    assert "channels\nthat creep or warm up" in text
    assert "What an operator would live with" in text
    assert recipe["unfamiliar"].keys() == {"realistic", "oracle"}
    assert all(0 <= one["flagged"]["value"] <= 1 for one in recipe["unfamiliar"].values())
    assert "scan-and-dial" in text
    assert len(recipe["pairs"]) == 66
    assert len(recipe["gaps"]) == 6
    assert {one["channel"] for one in recipe["leaks"]["creeping"]} >= {"proc.rss", "guest.slab", "qmp.read_ops"}
    for model in recipe["models"]:
        assert (model["steady_macro_f1"] is not None) == (model["architecture"] == "gbt")  # of quick fits
        assert "scan-and-dial" not in model["per_profile"]
        assert model["sources"].keys() >= {"proc", "qmp", "netflow"}
        assert model["alarms"]["onsets"] == model["alarms_in_a_row"]["onsets"] == 2
        seen = f"{2 - model['alarms']['missed']} of 2"
        assert re.search(rf"<td>{model['title']}</td>(?:(?!</tr>).)*{seen}", text, re.DOTALL)
        found = [one["found"] for one in model["curve"]]
        assert found == sorted(found, reverse=True)  # a higher threshold finds no more
        assert all(worth["refitted"] is not None for worth in model["sources"].values()) == (
            model["architecture"] == "gbt"
        )
        assert len(model["channels"]) == (46 if model["threat_model"] == "oracle" else 36)
        assert page.count(model["title"]) > 5
    for pitfall in range(1, 11):
        assert f"P{pitfall} " in page
    assert "trainer build" in page
    for loads in ("src=", "<script", "<link", 'href="http', "url(http", "@import"):
        assert loads not in page, loads


@pytest.mark.system
def test_the_report_is_drawn_by_a_browser(built: Build, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    command = [
        str(program("chromium")),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
    ]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1150,4000", f"--screenshot={picture}"]
    command += [f"file://{(built.out / 'report.html').resolve()}"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert picture.stat().st_size > 200_000


def test_an_evaluation_survives_being_written_and_read(built: Build) -> None:
    from trainer.evaluate.kept import load_evaluation

    found = load_evaluation(built.out)
    assert msgspec.json.decode(msgspec.json.encode(found)) == json.loads((built.out / "evaluation.json").read_text())


def test_scores_in_the_evaluation_are_told_again_from_the_predictions(built: Build, schema: FeatureSchema) -> None:
    from contracts.vocabulary import PHASES

    for model in json.loads((built.out / "evaluation.json").read_text())["recipes"][0]["models"]:
        table = pq.read_table(built.out / "predictions" / "held_out_host" / f"{model['title']}.parquet").to_pydict()
        p = np.stack([table[f"p_{name}"] for name in PHASES], axis=1)
        truth = [PHASES.index(name) for name in table["label"]]
        assert np.isclose(f1_score(truth, p.argmax(axis=1), average="macro"), model["macro_f1"]["value"])


def test_fits_on_a_real_cluster_leave_the_same_weights(fitted: Path, motion: Dataset, tmp_path: Path) -> None:
    """Two Dask workers, as on two machines that share a disk."""
    with cluster() as dask:
        options = ("--architectures", "gbt,mlp", "--quick", "--cluster", dask.address)
        done = trainer("fit", motion.path, "--out", tmp_path / "out", *options)
        assert done.returncode == 0, done.stderr
        done = trainer("evaluate", tmp_path / "out", "--cluster", dask.address, "--json")
        assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["recipes"][0]["models"]) == 4
    found = sorted((tmp_path / "out").glob("checkpoints/**/*.[nu][pb][zj]"))
    assert len(found) == 4 + 5  # and gbt without each source
    for path in found:
        assert path.read_bytes() == (fitted / path.relative_to(tmp_path / "out")).read_bytes(), path
