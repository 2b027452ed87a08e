"""Candidates: what each form really is, a dying converter is only a reported one, and compilers cross over."""

from __future__ import annotations

import dataclasses
import itertools
import multiprocessing
import os
import platform
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb

from contracts.bundle.archive import Artifact
from contracts.errors import ParityError
from edge.runtimes.treelite import ELF_MACHINES
from tests.conftest import Build
from tests.golden.models import FOREST, ROUNDS, golden
from tests.pythons.found import HERE, interpreters_of
from tests.trainer import crashing
from trainer.architectures.gbt import GbtModel
from trainer.compile import forests as trees
from trainer.compile.candidate import Candidate
from trainer.compile.candidates import for_other_machines
from trainer.compile.compilation import Tried, load_compilations
from trainer.compile.convert import Converted, convert
from trainer.compile.measure import run_candidate
from trainer.compile.nets import FORMS
from trainer.compile.smaller_forests import forests

pytestmark = pytest.mark.slow
OWN = (platform.machine(),)


@pytest.fixture(scope="module")
def tried(built: Build) -> dict[str, dict[str, Tried]]:
    """Of every model, every form that the build tried."""
    found = load_compilations(built.out)
    assert found is not None
    return {model.title: {one.form: one for one in model.tried} for model in found.models}


def checkpoint(built: Build, title: str) -> Path:
    return built.out / "checkpoints" / "held_out_host" / title / "full-0"


def test_every_net_is_tried_in_three_forms_and_every_forest_in_several_sizes(
    tried: dict[str, dict[str, Tried]],
) -> None:
    assert len(tried) == 12
    for title, forms in tried.items():
        forest = title.startswith("gbt")
        if forest:
            sizes = [one.size for one in forms.values() if one.size is not None]
            assert len(sizes) == len(forms) > 1
            assert all(re.fullmatch(r"(all )?\d+ rounds", form) for form in forms)
            assert not any(judged.refused for form, one in forms.items() if "all" in form for judged in one.judged)
        else:
            assert forms.keys() == {form.name for form in FORMS}
        for one in forms.values():
            assert one.verdict.split(":")[0] in ("ships", "refused", "passes, but a smaller one does", "for comparison")
            runtimes = {judged.runtime.split()[0] for judged in one.judged}
            nets, forests = set(interpreters_of(HERE)), {"treelite-native", "treelite-gtil"}
            assert runtimes == (forests if forest else nets)
            assert all(0 < judged.p50_ms <= judged.p99_ms for judged in one.judged)


def test_what_ships_is_the_smallest_that_passes_and_float_only_where_none_does(
    tried: dict[str, dict[str, Tried]],
) -> None:
    for title, forms in tried.items():
        passing = [one for one in forms.values() if not any(judged.refused for judged in one.judged)]
        small = [one.size for one in passing if one.small and one.size is not None]
        ships = [one for one in forms.values() if one.ships]
        assert [one.size for one in ships] == [min(small, default=one.size) for one in passing[:1]], title


def test_forms_are_what_they_are_called(tried: dict[str, dict[str, Tried]]) -> None:
    """Read from the flatbuffers: which tensors are int8, and that no operator is foreign."""
    for title, forms in tried.items():
        if title.startswith("gbt"):
            continue
        facts = {name: one.facts for name, one in forms.items()}
        share = {
            name: (some.weights[0] / some.weights[1], some.activations[0] / some.activations[1])
            for name, some in facts.items()
            if some is not None
        }
        assert share["float32"] == share["float16"] == (0, 0), title
        assert share["dynamic int8"][0] > 0.75, title
        assert share["dynamic int8"][1] == 0, title
        for some in facts.values():
            assert some is not None
            assert some.foreign == ()
            assert any(operator.startswith("FULLY_CONNECTED v") for operator in some.operators)
        size = {name: one.size or 0 for name, one in forms.items()}
        assert size["dynamic int8"] < size["float16"] < size["float32"], title


def test_a_converter_that_dies_or_fails_is_a_reported_candidate_and_the_others_go_on(
    built: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.compile.convert.main", crashing.main)
    source = checkpoint(built, "mlp-realistic")
    found = convert("mlp", dict.fromkeys(["dies", "fails", "float32"], source))
    assert found["dies"] == "the converter died of SIGSEGV"
    assert found["fails"] == "no kernel for that"
    assert isinstance(found["float32"], Converted)
    assert found["float32"].facts.operators


def test_a_net_is_converted_also_by_a_worker_that_may_have_no_children(built: Build, tmp_path: Path) -> None:
    """As Dask's may not."""
    source = checkpoint(built, "mlp-realistic")
    worker = multiprocessing.get_context("spawn").Process(target=_convert, args=(source, tmp_path / "a"), daemon=True)
    worker.start()
    _convert(source, tmp_path / "b")
    worker.join()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def _convert(source: Path, out: Path) -> None:
    made = convert("mlp", {"float16": source})["float16"]
    assert isinstance(made, Converted)
    out.write_bytes(made.members["model.tflite"])


@pytest.mark.parametrize("architecture", ["mlp", "gbt"])
def test_candidates_are_made_and_measured_where_no_name_is_utf8(
    built: Build, architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a home whose name was given in an older encoding."""
    place = tmp_path / os.fsdecode(b"caf\xe9")
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    if architecture == "gbt":
        source, artifacts, windows = place / trees.CHECKPOINT, trees.tree_artifacts(OWN), golden(FOREST).windows
        source.write_bytes(golden(FOREST).data)
    else:
        source, artifacts = place / "mlp", (Artifact(runtime="tflite", member="model.tflite"),)
        shutil.copytree(checkpoint(built, "mlp-realistic"), source)
        windows = np.zeros((3, 216), np.float32)
    made = convert(architecture, {"float16": source}, machines=OWN)["float16"]
    assert isinstance(made, Converted), made
    np.save(place / "windows.npy", windows)
    candidate = Candidate(form="", artifacts=artifacts, members=made.members, small=True, facts=made.facts)
    runs = list(run_candidate(candidate, place / "windows.npy", 5))
    assert {run.probabilities.shape for run in runs} == {(len(windows), 5)}


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    """The golden one, for this machine alone."""
    source = tmp_path_factory.mktemp("forest") / trees.CHECKPOINT
    source.write_bytes(golden(FOREST).data)
    made = convert("gbt", {"golden": source}, machines=OWN)["golden"]
    assert isinstance(made, Converted)
    assert made.facts.trees == 5 * ROUNDS
    return Candidate(
        form="golden", artifacts=trees.tree_artifacts(OWN), members=made.members, small=True, facts=made.facts
    )


@pytest.mark.system
def test_a_forest_ships_with_libraries_for_a_pi_and_for_a_workstation(forest: Candidate) -> None:
    whole, notes = for_other_machines(forest, 1)
    assert notes == ()
    assert [artifact.machine for artifact in whole.artifacts if artifact.machine] == ["x86_64", "aarch64"]
    assert whole.artifacts[-1].runtime == "treelite-gtil"
    for artifact in whole.artifacts[:-1]:
        header = whole.members[artifact.member]
        assert header[:4] == b"\x7fELF"
        assert artifact.machine is not None
        assert int.from_bytes(header[18:20], "little") == ELF_MACHINES[artifact.machine]
    assert whole.members["model.x86_64.so"] == forest.members["model.x86_64.so"]


def test_a_machine_without_a_compiler_is_said_and_the_checkpoint_is_left_to_it(
    forest: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if "aarch64" in name else real(name))
    whole, notes = for_other_machines(forest, 1)
    assert notes == (
        "has no library for aarch64: aarch64-linux-gnu-gcc is not installed (Debian: gcc-aarch64-linux-gnu); "
        "there it runs only where treelite is installed",
    )
    assert [artifact.runtime for artifact in whole.artifacts] == ["treelite-native", "treelite-gtil"]


def test_a_candidate_that_no_runtime_can_open_says_so(forest: Candidate, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.zeros((3, 48), np.float32))
    spoiled = dataclasses.replace(forest, members=dict.fromkeys(forest.members, b"hello"))
    with pytest.raises(ParityError, match=r"model\.x86_64\.so in treelite-native: .*expected to run"):
        list(run_candidate(spoiled, tmp_path / "w.npy", 5))


def test_a_net_that_no_small_form_keeps_ships_in_float_only_when_asked_for(
    built: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.compile import nets, prove
    from trainer.fits.record import load_fits

    monkeypatch.setattr(nets, "FORMS", tuple(form for form in FORMS if form.name == "float32"))
    (job,) = [job for job in load_fits(built.out).wanted("held_out_host") if job.title == "mlp-oracle"]
    refused = prove.prove_job(job, built.out / "dataset", built.out, False)
    assert refused.proven is None
    assert refused.compilation.refused == "no small form passes (none was made); --allow-float ships the large one"
    allowed = prove.prove_job(job, built.out / "dataset", built.out, True)
    assert allowed.proven is not None
    assert allowed.proven.candidate.form == "float32"
    assert allowed.compilation.tried[0].verdict.startswith("ships: no smaller one passes, and --allow-float")


@pytest.mark.parametrize("rounds", [1, 2, 3, 20])
def test_smaller_forests_are_the_first_rounds_of_the_fitted_one_each_with_fewer_than_the_one_before(
    rounds: int,
) -> None:
    rng = np.random.default_rng(0)
    learned = xgb.DMatrix(rng.normal(size=(90, 4)), np.arange(90) % 3)
    booster = xgb.train({"objective": "multi:softprob", "num_class": 3, "nthread": 1}, learned, rounds)
    found = forests(GbtModel(booster))
    kept = [one.num_boosted_rounds() for one in found.values()]
    assert list(found) == [f"all {rounds} rounds", *(f"{some} rounds" for some in kept[1:])]
    assert kept[0] == rounds
    assert all(1 <= fewer < more for more, fewer in itertools.pairwise(kept))
    whole = booster.get_dump()
    assert all(one.get_dump() == whole[: 3 * some] for one, some in zip(found.values(), kept, strict=True))
