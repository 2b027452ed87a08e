"""What ships, against its bare runtime, its float form and XGBoost's own prediction; and installing it."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.bundle.archive import Bundle, read_bundle
from contracts.bundle.keys import load_trusted_keys
from contracts.features.schema import feature_schema
from edge.runtimes import NativeRuntime, Runtime, TfliteRuntime, open_runtime
from trainer.compile.convert import Converted, convert
from trainer.dataset.open import open_dataset
from trainer.split import load_split

CALLS = 6000
Floats = NDArray[np.float32]


def bench_artifacts(out: Path) -> None:
    """Every bundle of a build, over its held-out windows in turn: a branch predictor learns one alone."""
    schema = feature_schema()
    dataset = open_dataset(out / "dataset", schema)
    split = load_split(out / "split-held_out_host.json", dataset.digest)
    for path in sorted((out / "bundles").glob("*.bundle")):
        bundle = read_bundle(path, schema=schema, trust=load_trusted_keys(out / "keys"))
        windows = dataset.load(bundle.manifest.view, bundle.manifest.channels).of(split.test).x
        runtime = open_runtime(bundle)
        ours = _p50_us(runtime.predict, windows)
        bare, name = _bare(runtime, windows)
        title = f"{bundle.manifest.architecture}-{bundle.manifest.threat_model}, {bundle.manifest.form}"
        _line(title, ours, name, bare)
        if bundle.manifest.architecture == "gbt":
            _against_xgboost(out, bundle, ours, windows)
        else:
            _against_float(out, bundle, ours, windows)
    _install(out)


def _line(what: str, ours: float, peer: str, theirs: float) -> None:
    print(f"{what}: {ours:.4g} us; {peer}: {theirs:.4g} us; ratio {ours / theirs:.3g}", flush=True)


def _p50_us(work: Callable[[Any], object], given: Any) -> float:
    took = []
    for _, one in zip(range(CALLS), cycle(given), strict=False):
        began = time.perf_counter()
        work(one)
        took.append(time.perf_counter() - began)
    return float(np.median(took)) * 1e6


def _bare(runtime: Runtime, windows: Floats) -> tuple[float, str]:
    """The least that anybody could call: tl2cgen's `predict` on prepared entries; set, invoke and get."""
    if isinstance(runtime, NativeRuntime):
        predict = runtime._library.predict
        predict.argtypes, predict.restype = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p], None
        entries, result = windows.copy(), np.zeros(5, np.float32)
        entries.view(np.int32)[np.isnan(entries)] = -1
        at = result.ctypes.data
        return _p50_us(lambda where: predict(where, 0, at), [row.ctypes.data for row in entries]), "bare native call"
    assert isinstance(runtime, TfliteRuntime)
    interpreter, given, result_at = runtime._interpreter, runtime._input, runtime._output

    def call(window: Floats) -> object:
        interpreter.set_tensor(given, window)
        interpreter.invoke()
        return interpreter.get_tensor(result_at)

    return _p50_us(call, windows[:, None]), "bare interpreter"


def _against_xgboost(out: Path, bundle: Bundle, ours: float, windows: Floats) -> None:
    from trainer.architectures.gbt import Gbt, GbtModel

    title = f"gbt-{bundle.manifest.threat_model}"
    model = Gbt().load(out / "checkpoints" / "held_out_host" / title / "full-0")
    assert isinstance(model, GbtModel)
    theirs = _p50_us(model.booster.inplace_predict, windows[:600, None])
    _line(title, ours, "inplace_predict of all rounds", theirs)


def _against_float(out: Path, bundle: Bundle, ours: float, windows: Floats) -> None:
    """The same model in float32, in the same interpreter."""
    title = f"{bundle.manifest.architecture}-{bundle.manifest.threat_model}"
    checkpoint = out / "checkpoints" / "held_out_host" / title / "full-0"
    made = convert(bundle.manifest.architecture, {"float32": checkpoint})["float32"]
    assert isinstance(made, Converted), made
    large = TfliteRuntime.load(made.members["model.tflite"], classes=5)
    _line(f"{title}, {bundle.manifest.form} in {large.name}", ours, "float32", _p50_us(large.predict, windows))


def _install(out: Path) -> None:
    """The whole command, from a cold start of Python."""
    for name in ("gbt-realistic", "transformer-oracle"):
        (bundle,) = (out / "bundles").glob(f"{name}-*.bundle")
        took = list(_installs(out, bundle))
        print(f"edge install {name}, with self-test: {np.median(took):.2f} s (bar: 2 s)", flush=True)


def _installs(out: Path, bundle: Path) -> Iterator[float]:
    for _ in range(5):
        with tempfile.TemporaryDirectory() as state:
            began = time.perf_counter()
            command = [sys.executable, "-m", "edge.cli", "install", str(bundle)]
            subprocess.run([*command, "--state", state, "--trust", str(out / "keys")], check=True, capture_output=True)
            yield time.perf_counter() - began
