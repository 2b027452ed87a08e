"""Every runtime passes the same checks, on the artifacts of a real build."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from typing import Any, Literal

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.bundle.archive import Artifact, Bundle, read_bundle
from contracts.errors import BundleError, ConfigError
from contracts.features.schema import FeatureSchema
from contracts.vocabulary import PHASES
from edge.model import opened as models
from edge.runtimes import GtilRuntime, NativeRuntime, Runtime, TfliteRuntime, open_runtime, runtime_of
from edge.runtimes.tflite import INTERPRETERS, installed_interpreters
from tests.conftest import Build
from tests.pythons.found import HERE, interpreters_of

pytestmark = pytest.mark.slow
CASES = [("gbt-realistic", 0), ("gbt-realistic", -1), ("cnn-realistic", 0)]


def opened(built: Build, schema: FeatureSchema, name: str, artifact: int) -> tuple[Bundle, Runtime]:
    bundle = read_bundle(built.bundle(name), schema=schema, trust=built.trust)
    chosen = bundle.manifest.artifacts[artifact]
    return bundle, runtime_of(chosen).load(bundle.members[chosen.member], classes=5)


def golden(bundle: Bundle, name: str = "windows") -> NDArray[Any]:
    summary = bundle.manifest.view == "summary"
    shape = (5,) if name == "probabilities" else (36 * 6,) if summary else (len(bundle.manifest.channels), 100)
    return np.frombuffer(bundle.members[f"golden-{name}.f32"], "<f4").reshape(-1, *shape).copy()


@pytest.mark.parametrize(("name", "artifact"), CASES)
def test_predict_gives_probabilities_and_is_pure(built: Build, schema: FeatureSchema, name: str, artifact: int) -> None:
    bundle, runtime = opened(built, schema, name, artifact)
    windows = golden(bundle)
    kept = windows.copy()
    first = runtime.predict_many(windows)
    assert first.shape == (len(windows), 5)
    assert first.dtype == np.float32
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(runtime.predict_many(windows[::-1])[::-1], first)
    np.testing.assert_array_equal(windows, kept)


@pytest.mark.parametrize(("name", "artifact"), CASES)
def test_predict_bears_windows_of_which_little_or_nothing_was_observed(
    built: Build, schema: FeatureSchema, name: str, artifact: int
) -> None:
    bundle, runtime = opened(built, schema, name, artifact)
    windows = golden(bundle)
    windows[np.random.default_rng(0).random(windows.shape) < 0.3] = np.nan
    windows[0] = np.nan
    found = runtime.predict_many(windows)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_native_and_gtil_agree_with_values_missing(built: Build, schema: FeatureSchema) -> None:
    bundle, native = opened(built, schema, "gbt-realistic", 0)
    _, gtil = opened(built, schema, "gbt-realistic", -1)
    assert isinstance(native, NativeRuntime)
    assert isinstance(gtil, GtilRuntime)
    windows = np.tile(golden(bundle), (20, 1))
    windows[np.random.default_rng(0).random(windows.shape) < 0.2] = np.nan
    np.testing.assert_allclose(native.predict_many(windows), gtil.predict_many(windows), atol=1e-5)


def test_every_interpreter_that_this_python_can_have_is_installed_here_and_litert_is_preferred() -> None:
    assert tuple(name for name, _ in INTERPRETERS) == ("ai-edge-litert", "tflite-runtime")
    assert installed_interpreters() == interpreters_of(HERE)


@pytest.mark.parametrize("interpreter", interpreters_of(HERE))
def test_interpreters_reproduce_the_golden_vectors(built: Build, interpreter: str) -> None:
    # in a process of its own: tflite-runtime breaks once TensorFlow was imported, as other tests here do
    script = (
        "import sys; from pathlib import Path; from contracts.bundle.archive import read_bundle\n"
        "from contracts.features.schema import feature_schema\nfrom edge.model.opened import self_test\n"
        "from edge.runtimes import TfliteRuntime\n"
        "bundle = read_bundle(Path(sys.argv[1]), schema=feature_schema(), trust=None, allow_unsigned=True)\n"
        "runtime = TfliteRuntime(bundle.members['model.tflite'], classes=5, interpreter=sys.argv[2])\n"
        "self_test(bundle, runtime, feature_schema()); print(runtime.name)\n"
    )
    command = [sys.executable, "-c", script, str(built.bundle("cnn-oracle")), interpreter]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(interpreter)


def test_open_runtime_passes_over_a_library_for_another_machine_and_says_what_it_took(
    built: Build, schema: FeatureSchema
) -> None:
    bundle = read_bundle(built.bundle("gbt-realistic"), schema=schema, trust=built.trust)
    native, *_, gtil = bundle.manifest.artifacts
    elsewhere = msgspec.structs.replace(native, machine="riscv64")
    manifest = msgspec.structs.replace(bundle.manifest, artifacts=(elsewhere, gtil))
    assert open_runtime(msgspec.structs.replace(bundle, manifest=manifest)).name.startswith("treelite-gtil")
    manifest = msgspec.structs.replace(bundle.manifest, artifacts=(elsewhere,))
    with pytest.raises(BundleError, match=rf"built for riscv64\); expected one for {platform.machine()}"):
        open_runtime(msgspec.structs.replace(bundle, manifest=manifest))


def test_a_library_whose_bytes_are_for_another_machine_is_refused(built: Build, schema: FeatureSchema) -> None:
    bundle = read_bundle(built.bundle("gbt-realistic"), schema=schema, trust=built.trust)
    data = bytearray(bundle.members[bundle.manifest.artifacts[0].member])
    data[18] = 183
    with pytest.raises(BundleError, match=f"a library for aarch64; expected {platform.machine()}"):
        NativeRuntime(bytes(data), classes=5)
    with pytest.raises(BundleError, match="a library for no ELF library"):
        NativeRuntime(b"hello", classes=5)


@pytest.mark.parametrize("runtime", ["tflite", "treelite-gtil"])
def test_bytes_that_are_no_model_are_refused(runtime: Literal["tflite", "treelite-gtil"]) -> None:
    artifact = Artifact(runtime=runtime, member="x")
    with pytest.raises(BundleError, match=re.compile("refused")):
        runtime_of(artifact).load(b"hello, I am no model" * 20, classes=5)


def test_a_model_with_another_number_of_classes_is_refused(built: Build, schema: FeatureSchema) -> None:
    bundle = read_bundle(built.bundle("cnn-realistic"), schema=schema, trust=built.trust)
    with pytest.raises(BundleError, match=r"output of shape \(1, 5\); expected \(1, 4\)"):
        TfliteRuntime.load(bundle.members["model.tflite"], classes=4)
    gbt = read_bundle(built.bundle("gbt-realistic"), schema=schema, trust=built.trust)
    with pytest.raises(BundleError, match="5 classes; expected 4"):
        NativeRuntime.load(gbt.members[gbt.manifest.artifacts[0].member], classes=4)


def test_a_window_of_another_shape_is_refused(built: Build, schema: FeatureSchema) -> None:
    _, runtime = opened(built, schema, "cnn-realistic", 0)
    with pytest.raises(ConfigError, match="window refused"):
        runtime.predict(np.zeros((46, 100), np.float32))


def test_self_test_refuses_a_model_that_does_not_reproduce_its_golden_vectors(
    built: Build, schema: FeatureSchema
) -> None:
    bundle, runtime = opened(built, schema, "gbt-realistic", 0)
    off = golden(bundle, "probabilities") + np.float32(0.01)
    spoiled = msgspec.structs.replace(bundle, members={**bundle.members, "golden-probabilities.f32": off.tobytes()})
    with pytest.raises(BundleError, match=r"golden vectors come out 0\.01 off; expected at most 1e-05"):
        models.self_test(spoiled, runtime, schema)


@pytest.mark.parametrize(
    ("member", "data", "message"),
    [
        ("scorecard.json", b"{}", r"scorecard\.json: Object missing required field"),
        ("reference.json", None, r"reference\.json: missing; expected a reference\.json"),
        ("golden-windows.f32", b"hello", r"golden-windows\.f32: 5 bytes; expected a multiple of 864: float32 of shape"),
        ("golden-windows.f32", None, r"golden-windows\.f32: missing"),
        ("golden-windows.f32", b"", r"golden-windows\.f32: 0 bytes"),
        ("golden-windows.f32", bytes(864), "1 golden windows and 10 results; expected as many of each"),
        ("reference.json", b'{"mean":[0],"std":[1],"importance":[0]}', "numbers that do not fit its channels"),
    ],
)
def test_activate_refuses_a_bundle_whose_documents_do_not_read(
    built: Build, schema: FeatureSchema, monkeypatch: pytest.MonkeyPatch, member: str, data: bytes | None, message: str
) -> None:
    bundle = read_bundle(built.bundle("gbt-realistic"), schema=schema, trust=built.trust)
    members = {name: value for name, value in bundle.members.items() if name != member}
    if data is not None:
        members[member] = data
    spoiled = msgspec.structs.replace(bundle, members=members)
    monkeypatch.setattr(models, "read_bundle", lambda *_, **__: spoiled)
    with pytest.raises(BundleError, match=message):
        models.activate(built.bundle("gbt-realistic"), schema, built.trust)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"phases": PHASES[::-1]},
            "phases dormant, .*; expected clean",
        ),
        ({"channels": ("guest.running",)}, "1 channels; expected the view of the realistic threat model"),
        ({"threat_model": "oracle"}, "36 channels; expected the view of the oracle threat model"),
        ({"view": "tensor"}, "treelite-native on view tensor"),
    ],
)
def test_activate_refuses_a_manifest_that_means_something_else(
    built: Build, schema: FeatureSchema, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    bundle = read_bundle(built.bundle("gbt-realistic"), schema=schema, trust=built.trust)
    odd = msgspec.structs.replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, **change))
    monkeypatch.setattr(models, "read_bundle", lambda *_, **__: odd)
    with pytest.raises(BundleError, match=message):
        models.activate(built.bundle("gbt-realistic"), schema, built.trust)
