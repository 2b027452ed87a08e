"""Candidates: what each form really is, a dying converter is only a reported one, and compilers cross over."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import ParityError
from contracts.features import FeatureSchema
from edge.runtimes.treelite import ELF_MACHINES
from tests.conftest import Build
from tests.pythons.found import HERE, interpreters_of
from trainer.architectures import architecture_named
from trainer.architectures.gbt import Gbt, GbtModel
from trainer.compile import trees
from trainer.compile.base import Candidate
from trainer.compile.candidates import PER_PHASE, examples, for_other_machines
from trainer.compile.convert import Converted, convert
from trainer.compile.measure import run_candidate
from trainer.compile.nets import FORMS
from trainer.compile.record import Tried, load_compilations
from trainer.corpus.dataset import Dataset, open_dataset
from trainer.corpus.side import side_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tried(built: Build) -> dict[str, dict[str, Tried]]:
    """Of every model, every form that the build tried."""
    found = load_compilations(built.out)
    assert found is not None
    return {model.title: {one.form: one for one in model.tried} for model in found.models}


def checkpoint(built: Build, title: str) -> Path:
    return built.out / "checkpoints" / "held_out_host" / title / "full-0"


def test_every_net_is_tried_in_four_forms_and_every_forest_in_several_sizes(
    tried: dict[str, dict[str, Tried]],
) -> None:
    assert len(tried) == 12
    for title, forms in tried.items():
        if title.startswith("gbt"):
            sizes = [one.size for one in forms.values() if one.size is not None]
            assert len(sizes) == len(forms) >= 6
            assert sizes == sorted(sizes, reverse=True)
            assert {"depth 3, fitted anew", "depth 2, fitted anew"} < forms.keys()
        else:
            assert forms.keys() == {form.name for form in FORMS}
        (ships,) = [one for one in forms.values() if one.ships]
        passing = [
            one
            for one in forms.values()
            if one.small and one.form != "full int8" and not any(j.refused for j in one.judged)
        ]
        assert ships.size == min(one.size or 0 for one in passing)
        if "full int8" in forms:
            assert forms["full int8"].verdict.startswith("refused: decides near ties otherwise on a Pi")
        for one in forms.values():
            assert one.verdict.split(":")[0] in ("ships", "refused", "passes, but a smaller one does", "for comparison")
            runtimes = {judged.runtime.split()[0] for judged in one.judged}
            nets, forests = set(interpreters_of(HERE)), {"treelite-native", "treelite-gtil"}
            assert runtimes == (forests if title.startswith("gbt") else nets)
            assert all(0 < judged.p50_ms <= judged.p99_ms for judged in one.judged)


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
        assert share["full int8"][0] > 0.5, title  # an unrolled loop repeats its int32 biases
        assert share["full int8"][1] > (0.2 if title.startswith("mlp") else 0.5), title  # mlp: mostly its head
        for some in facts.values():
            assert some is not None
            assert some.foreign == ()
            assert any(operator.startswith("FULLY_CONNECTED v") for operator in some.operators)
        int8 = facts["full int8"]
        assert int8 is not None
        assert any(operator.startswith("QUANTIZE v") for operator in int8.operators)
        size = {name: one.size or 0 for name, one in forms.items()}
        assert size["dynamic int8"] < size["float16"] < size["float32"], title


def test_a_converter_that_dies_or_fails_is_a_reported_candidate_and_the_others_go_on(
    built: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.trainer.crashing "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    source = checkpoint(built, "mlp-realistic")
    windows = np.zeros((2, 36 * 6), np.float32)
    found = convert("mlp", dict.fromkeys(["dies", "fails", "float32"], source), examples=windows)
    assert found["dies"] == "the converter died of SIGSEGV"
    assert found["fails"] == "no kernel for that"
    assert isinstance(found["float32"], Converted)
    assert found["float32"].facts.operators


def test_examples_are_of_every_phase_alike(dataset: Dataset, schema: FeatureSchema) -> None:
    episodes = sorted(set(dataset.load_ids().episode_id))[::2]
    side = side_of(dataset, "summary", tuple(schema.channel_ids), episodes)
    shown = examples(side)
    of_phase = np.minimum(np.bincount(side.y, minlength=5), PER_PHASE)
    assert len(shown) == of_phase.sum()
    whole = np.concatenate(list(side.parts()))
    at = [int(np.flatnonzero((whole == row) | (np.isnan(whole) & np.isnan(row))).size > 0) for row in shown[:3]]
    assert at == [1, 1, 1]


@pytest.fixture(scope="module")
def forest(built: Build) -> Candidate:
    """A real one, of this machine alone."""
    model = architecture_named("gbt").load(checkpoint(built, "gbt-realistic"))
    assert isinstance(model, GbtModel)
    small = GbtModel(model.booster[:3])
    folder = built.out / "small"
    folder.mkdir(exist_ok=True)
    small.save(folder)
    import platform

    own = (platform.machine(),)
    made = convert("gbt", {"3 rounds": folder / "model.ubj"}, machines=own)["3 rounds"]
    assert isinstance(made, Converted)
    assert made.facts.trees == 15
    return Candidate(
        form="3 rounds",
        artifacts=trees.tree_artifacts(own),
        members=made.members,
        small=True,
        facts=made.facts,
    )


@pytest.mark.system
def test_a_forest_ships_with_libraries_for_a_pi_and_for_a_workstation(forest: Candidate) -> None:
    whole, notes = for_other_machines(forest)
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
    whole, notes = for_other_machines(forest)
    assert notes == (
        "has no library for aarch64: aarch64-linux-gnu-gcc is not installed (Debian: gcc-aarch64-linux-gnu); "
        "there it runs only where treelite is installed",
    )
    assert [artifact.runtime for artifact in whole.artifacts] == ["treelite-native", "treelite-gtil"]


def test_a_candidate_that_no_runtime_can_open_says_so(forest: Candidate, tmp_path: Path) -> None:
    from dataclasses import replace

    np.save(tmp_path / "w.npy", np.zeros((3, 216), np.float32))
    spoiled = replace(forest, members=dict.fromkeys(forest.members, b"hello"))
    with pytest.raises(ParityError, match=r"model\.x86_64\.so in treelite-native: .*expected to run"):
        list(run_candidate(spoiled, tmp_path / "w.npy", 5))


def test_a_net_that_no_small_form_keeps_ships_in_float_only_when_asked_for(
    built: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.compile import nets, prove
    from trainer.fits import load_fits

    monkeypatch.setattr(nets, "FORMS", tuple(form for form in FORMS if form.name == "float32"))
    (job,) = [job for job in load_fits(built.out).wanted("held_out_host") if job.title == "mlp-oracle"]
    refused = prove.prove_job(job, built.out / "dataset", built.out, False)
    assert refused.proven is None
    assert refused.compilation.refused == "no small form passes (none was made); --allow-float ships the large one"
    allowed = prove.prove_job(job, built.out / "dataset", built.out, True)
    assert allowed.proven is not None
    assert allowed.proven.candidate.form == "float32"
    assert allowed.compilation.tried[0].verdict.startswith("ships: no smaller one passes, and --allow-float")


def test_shallower_forests_are_what_they_say(built: Build, schema: FeatureSchema) -> None:
    import json

    from trainer.compile.pruned import forests
    from trainer.fits import load_fits
    from trainer.split import load_split

    dataset = open_dataset(built.out / "dataset", schema)
    split = load_split(built.out / "split-held_out_host.json", dataset.digest)
    (job,) = [job for job in load_fits(built.out).wanted("held_out_host") if job.title == "gbt-realistic"]
    train, validation = (side_of(dataset, "summary", job.channels, some) for some in (split.train, split.validation))
    model = Gbt().load(checkpoint(built, "gbt-realistic"))
    assert isinstance(model, GbtModel)
    found = dict(forests(model, job, train, validation))
    rounds = [booster.num_boosted_rounds() for form, booster in found.items() if "rounds" in form]
    assert rounds == sorted(rounds, reverse=True)
    assert rounds[0] == model.booster.num_boosted_rounds()
    for depth in (3, 2):
        trees_of = json.loads(found[f"depth {depth}, fitted anew"].save_raw("json"))
        nodes = [len(t["left_children"]) for t in trees_of["learner"]["gradient_booster"]["model"]["trees"]]
        assert max(nodes) <= 2 ** (depth + 1) - 1
