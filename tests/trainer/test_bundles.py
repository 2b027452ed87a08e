"""What a bundle says of where it came from and what it is made of, and how two of them differ."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from contracts.bundle.archive import Bundle, read_bundle, write_bundle
from contracts.bundle.keys import load_signing_key
from contracts.errors import BundleError
from contracts.events.payloads import Interval
from contracts.features.schema import FeatureSchema
from contracts.files import sha256
from edge import scores
from tests.conftest import Build
from trainer.bundle import held_out, provenance, sbom
from trainer.bundle.diff import differ, in_words
from trainer.bundle.held_out import HeldOut, read_held_out
from trainer.versions import EVERYTHING, code_digest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(built: Build, schema: FeatureSchema) -> Bundle:
    return read_bundle(built.bundle("gbt-realistic"), schema=schema, trust=built.trust)


def test_provenance_names_data_split_code_libraries_command_and_scores(bundle: Bundle, built: Build) -> None:
    found = msgspec.json.decode(bundle.members[provenance.MEMBER], type=provenance.Provenance)
    card = json.loads(bundle.members["scorecard.json"])
    assert found.dataset == bundle.manifest.corpus_digest
    assert found.split == bundle.manifest.split_digest
    assert found.code == code_digest(*EVERYTHING)
    assert found.libraries.keys() >= {"tensorflow", "xgboost", "treelite", "numpy"}
    assert found.macro_f1 == msgspec.convert(card["macro_f1"], Interval)
    assert found.form == bundle.manifest.form
    assert found.command == (
        "trainer build STORE --out DIR --architectures gbt,mlp,cnn,gru,lstm,transformer "
        "--threat-models realistic,oracle --recipe held_out_host --seed 0 --quick --allow-float"
    )
    # nothing of the machine that built it: no path, no name, no time
    for data in (bundle.members[provenance.MEMBER], bundle.members[sbom.MEMBER], bundle.members["scorecard.json"]):
        assert str(built.out).encode() not in data
        assert b"/home" not in data
        assert b"timestamp" not in data


def test_the_command_of_a_bundle_holds_every_option_that_decides_what_is_made() -> None:
    from trainer.fits.plan import FitPlan, Search
    from trainer.plan import BuildPlan
    from trainer.split import recipe_named

    fit = FitPlan(
        out=Path("o"),
        architectures=("gbt",),
        threat_models=("oracle",),
        recipes=(recipe_named("held_out_time", 90),),
        held_out="x y",
        seeds=(1, 2),
        quick=False,
        search=Search(trials=3, max_bytes=150_000, max_operations=5_000_000),
        command="",
    )
    plan = BuildPlan(
        source=Path("s"), fit=fit, schema=None, workers=1, cluster=None, degraded=True, key=None, allow_float=True
    )
    assert provenance.command_of(plan) == (
        "trainer build STORE --out DIR --architectures gbt --threat-models oracle --recipe held_out_time --seed 1,2 "
        "--held-out 'x y' --embargo=90 --tune 3 --max-kb=150 --max-mops=5 --include-degraded --allow-float"
    )
    from contracts.shell.cli import Parser
    from trainer.commands import build

    parser = Parser(prog="trainer")
    build.add(parser.add_subparsers(dest="command"))
    import shlex

    again = parser.parse_args(shlex.split(provenance.command_of(plan))[1:])
    assert (again.tune, again.embargo, again.held_out, again.allow_float) == (3, 90, "x y", True)


def test_the_bill_of_materials_is_cyclonedx_and_names_every_member_with_its_digest(bundle: Bundle) -> None:
    data = bundle.members[sbom.MEMBER]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(data.decode()) is None
    found = json.loads(data)
    component = found["metadata"]["component"]
    assert (component["name"], component["version"]) == (bundle.manifest.name, bundle.manifest.build_id)
    parts = {part["name"]: part["hashes"][0]["content"] for part in component["components"]}
    assert parts == {name: sha256(member) for name, member in bundle.members.items() if name != sbom.MEMBER}
    libraries = {library["name"]: library["version"] for library in found["components"]}
    assert libraries == bundle.manifest.versions
    assert found["components"][0]["purl"].startswith("pkg:pypi/")


def test_the_judge_of_bills_of_materials_can_refuse(bundle: Bundle) -> None:
    found = json.loads(bundle.members[sbom.MEMBER])
    found["components"][0]["type"] = "poem"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(found)) is not None


def test_the_same_inputs_give_the_same_bytes(bundle: Bundle) -> None:
    members = {name: data for name, data in bundle.members.items() if name != sbom.MEMBER}
    manifest = bundle.manifest
    again = sbom.bill_of_materials(manifest.name, manifest.build_id, members, manifest.versions)
    assert again == bundle.members[sbom.MEMBER]


def test_held_out_decisions_are_those_of_the_scorecard(bundle: Bundle) -> None:
    card = json.loads(bundle.members["scorecard.json"])
    found = read_held_out(bundle.members[held_out.MEMBER], bundle.path)
    confusions = found.confusions(sorted(found.episodes))
    assert confusions.shape == (3, 5, 5)
    assert confusions.sum(axis=0).tolist() == card["confusion"]
    assert np.isclose(scores.macro_f1(confusions.sum(axis=0)), card["macro_f1"]["value"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, r"held-out\.json: missing; expected held-out decisions"),
        (b"{}", r"held-out\.json: Object missing required field"),
        (b'{"classes":["a","b"],"episodes":{"e":[1,2,3]}}', "a confusion that is not of 2 classes"),
        (b'{"classes":["a"],"episodes":{"e":[-1]}}', "a confusion that is not of 1 classes"),
    ],
)
def test_held_out_decisions_that_do_not_read_are_refused(data: bytes | None, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        read_held_out(data, Path("x.bundle"))


def test_a_bundle_differs_from_itself_in_nothing(bundle: Bundle) -> None:
    found = differ(bundle, bundle)
    assert found.difference == Interval(value=0, low=0, high=0)
    assert found.changes == []
    assert (found.episodes, found.windows, found.alone) == (3, 124, (0, 0))
    assert set(found.per_class.values()) == {0}


def test_diff_of_two_models_is_paired_and_lists_what_changed(built: Build, schema: FeatureSchema) -> None:
    one, other = (
        read_bundle(built.bundle(name), schema=schema, trust=built.trust) for name in ("mlp-realistic", "cnn-oracle")
    )
    found, back = differ(one, other), differ(other, one)
    assert np.isclose(found.difference.value, -back.difference.value)
    a, b = (some.value for some in found.macro_f1)
    assert np.isclose(found.difference.value, b - a)
    assert found.difference.low is not None
    assert found.difference.high is not None
    assert found.difference.low <= found.difference.value <= found.difference.high
    # by hand, on the same resamples
    confusions = [
        read_held_out(some.members[held_out.MEMBER], some.path).confusions(
            sorted(read_held_out(one.members[held_out.MEMBER], one.path).episodes)
        )
        for some in (other, one)
    ]
    draws = scores.draws(3, seed=0, replicates=scores.REPLICATES).astype(np.int64)
    replicates = [
        np.array([scores.macro_f1(np.tensordot(draw, some, axes=1)) for draw in draws]) for some in confusions
    ]
    low, high = np.percentile(replicates[0] - replicates[1], [2.5, 97.5])
    assert np.allclose([found.difference.low, found.difference.high], [low, high])
    changed = {change.what: (change.first, change.second) for change in found.changes}
    assert changed["architecture"] == ("mlp", "cnn")
    assert changed["channels"] == ("36", "46")
    assert "dataset" not in changed
    text = "\n".join(in_words(found))
    assert "second less first, paired: " in text
    assert "on 124 windows of 3 held-out episodes that both were judged on" in text


def changed(bundle: Bundle, decided: HeldOut, path: Path, key: Path, schema: FeatureSchema, trust: Any) -> Bundle:
    members = {**bundle.members, held_out.MEMBER: msgspec.json.encode(decided)}
    write_bundle(path, bundle.manifest, members, load_signing_key(key))
    return read_bundle(path, schema=schema, trust=trust)


def test_diff_refuses_bundles_that_were_judged_on_other_windows(
    bundle: Bundle, built: Build, schema: FeatureSchema, tmp_path: Path
) -> None:
    own = read_held_out(bundle.members[held_out.MEMBER], bundle.path)
    renamed = msgspec.structs.replace(own, episodes={f"x{name}": some for name, some in own.episodes.items()})
    other = changed(bundle, renamed, tmp_path / "a.bundle", built.key, schema, built.trust)
    with pytest.raises(
        BundleError, match="no episode in common with gbt-realistic-.*; expected both judged on the same"
    ):
        differ(bundle, other)
    first = sorted(own.episodes)[0]
    more = (own.episodes[first][0] + 1, *own.episodes[first][1:])
    other = changed(
        bundle,
        msgspec.structs.replace(own, episodes={**own.episodes, first: more}),
        tmp_path / "b.bundle",
        built.key,
        schema,
        built.trust,
    )
    with pytest.raises(BundleError, match=f"other windows of {first} than gbt-realistic-"):
        differ(bundle, other)
    fewer = {name: some for name, some in own.episodes.items() if name != first}
    other = changed(
        bundle, msgspec.structs.replace(own, episodes=fewer), tmp_path / "c.bundle", built.key, schema, built.trust
    )
    assert differ(bundle, other).alone == (1, 0)
    assert "left out: 1 of the first's episodes, 0 of the second's" in "\n".join(in_words(differ(bundle, other)))


def test_the_diff_command_speaks_to_people_and_to_programs(built: Build) -> None:
    command = [sys.executable, "-m", "trainer.cli", "diff", "--trust", str(built.key.parent)]
    pair = [str(built.bundle("mlp-realistic")), str(built.bundle("mlp-oracle"))]
    done = subprocess.run([*command, *pair], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "threat model: realistic -> oracle" in done.stdout
    done = subprocess.run([*command, *pair, "--json"], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["episodes"] == 3
    done = subprocess.run([*command, pair[0], "absent"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "absent: no such file" in done.stderr
