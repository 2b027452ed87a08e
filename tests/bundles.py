"""Small bundles with a real native library, which can be told to misbehave: made in a moment, by the C compiler."""

from __future__ import annotations

import functools
import platform
import subprocess
import tempfile
from pathlib import Path

import msgspec
import numpy as np

from contracts.bundle.archive import Artifact, BundleManifest, write_bundle
from contracts.bundle.filter import Filter
from contracts.bundle.keys import load_signing_key
from contracts.bundle.scorecard import Reference, Scorecard
from contracts.events.payloads import Interval
from contracts.features.channels import view_of
from contracts.features.schema import FeatureSchema
from contracts.vocabulary import PHASES
from edge.runtimes import NativeRuntime

# The interface of a library that the trainer makes. What it decides depends on its first feature, and on FAVOURITE.
SOURCE = r"""
#include <stdlib.h>
#include <unistd.h>
int get_num_feature(void) { return FEATURES; }
void get_num_class(int* out) { out[0] = 5; }
__attribute__((constructor)) static void loaded(void) { if (getenv(TRIGGER "_CRASH_ON_LOAD")) abort(); }
void predict_window(const float* window, float* result) {
  if (getenv(TRIGGER "_CRASH")) abort();
  if (getenv(TRIGGER "_EXIT")) _exit(0);
  if (getenv(TRIGGER "_HANG")) for (;;) pause();
  if (getenv(TRIGGER "_SLOW")) usleep(30000);
  int best = window[0] > 0.5f ? (FAVOURITE + 1) % 5 : FAVOURITE;
  for (int i = 0; i < 5; i++) result[i] = i == best ? 0.6f : 0.1f;
}
"""


@functools.cache
def library(favourite: int, features: int, compiler: str = "cc") -> bytes:
    """A shared library, for this machine or the compiler's. It misbehaves where the environment says so:
    `PW<favourite>_CRASH` etc."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.c").write_text(SOURCE)
        defines = [f"-DFAVOURITE={favourite}", f"-DFEATURES={features}", f'-DTRIGGER="PW{favourite}"']
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", *defines, "-o", "model.so", "model.c"], cwd=folder, check=True
        )
        return (folder / "model.so").read_bytes()


def make_bundle(
    folder: Path,
    schema: FeatureSchema,
    key: Path | None,
    favourite: int = 0,
    *,
    golden_off: float = 0.0,
    wider: int = 0,
    machine: str = platform.machine(),
    spec: Filter | None = None,
    more: dict[str, bytes] | None = None,
) -> Path:
    """A signed bundle of a model that likes one phase. golden_off: how far its golden vectors are wrong; wider: by how
    many features its library is; machine: for which it is compiled; spec: its filter; more: other members."""
    channels = view_of(schema.channels, "realistic")
    features = len(channels) * len(schema.statistics)
    data = library(favourite, features)
    windows = np.random.default_rng(favourite).random((4, features)).astype(np.float32)
    said = NativeRuntime(data, classes=len(PHASES)).predict_many(windows) + np.float32(golden_off)
    compiler = "cc" if machine == platform.machine() else f"{machine}-linux-gnu-gcc"
    data = library(favourite, features + wider, compiler)
    name = f"model.{machine}.so"
    interval = Interval(value=0.5, low=0.4, high=0.6)
    card = Scorecard(
        recipe="held_out_host",
        held_out=("h",),
        episodes=2,
        windows=10,
        macro_f1=interval,
        model_macro_f1=0.5,
        argmax_agreement=1.0,
        max_probability_difference=0.0,
        per_class=dict.fromkeys(PHASES, 0.5),
        per_host={"h": 0.5},
        untested_classes=(),
        labels=PHASES,
        confusion=tuple((2, 0, 0, 0, 0) for _ in PHASES),
        profiles={},
        untested_profiles=(),
        seen_samples_share=0.0,
        elapsed_time_alone=interval,
        calibration_error=0.1,
        paired=None,
    )
    count = len(channels)
    reference = Reference(mean=(0.0,) * count, std=(1.0,) * count, importance=(0.1,) * count)
    title = f"gbt-realistic-{favourite:012x}"
    manifest = BundleManifest(
        format=1,
        name=title,
        build_id=f"{favourite:012x}",
        architecture="gbt",
        threat_model="realistic",
        form="by hand",
        schema_hash=schema.hash,
        phases=PHASES,
        channels=channels,
        view="summary",
        artifacts=(Artifact(runtime="treelite-native", member=name, machine=machine),),
        members={},
        temperature=1.0,
        abstain_below=0.5,
        filter=spec,
        tolerance=1e-5,
        recipe="held_out_host",
        seed=0,
        corpus_digest="0" * 64,
        split_digest="0" * 64,
        versions={},
    )
    members = {
        name: data,
        "scorecard.json": msgspec.json.encode(card),
        "reference.json": msgspec.json.encode(reference),
        "golden-windows.f32": windows.astype("<f4").tobytes(),
        "golden-probabilities.f32": said.astype("<f4").tobytes(),
        **(more or {}),
    }
    path = folder / f"{title}.bundle"
    write_bundle(path, manifest, members, load_signing_key(key) if key else None)
    return path
