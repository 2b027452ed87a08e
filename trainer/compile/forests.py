"""gbt -> Treelite: a checkpoint, and native libraries made by C compilers, for this machine and for a Pi."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tl2cgen
import treelite

from contracts.bundle.archive import Artifact
from contracts.errors import ConfigError, ParityError
from trainer.compile.candidate import Facts
from trainer.compile.child import run_child
from trainer.workers.hush import hushed

# One file per unit keeps the compiler small; without contraction the sums round as XGBoost's do.
UNITS = 40
FLAGS = ("-O1", "-ffp-contract=off", "-fPIC", "-std=c99", "-w")
MACHINES = {
    "x86_64": ("x86_64-linux-gnu-gcc",),
    # a Pi 4's core; a Pi 5 runs it too, with pages of 16 KiB (64, the default, would be mostly padding)
    "aarch64": ("aarch64-linux-gnu-gcc", "-mcpu=cortex-a72", "-Wl,-z,max-page-size=16384"),
}
"""Compilers of Debian's by the machine that they compile for, and what they are told."""
COMPILER_LIMIT_S = 300
"""For one unit; it takes less than a second."""
CHECKPOINT = "model.tl"
ENTRY = """#include "header.h"
void predict_window(const float* window, float* result) {{
  union Entry data[{features}];
  for (int i = 0; i < {features}; i++) {{
    data[i].fvalue = window[i];
    if (window[i] != window[i]) data[i].missing = -1;  /* how tl2cgen says NaN */
  }}
  for (int i = 0; i < {classes}; i++) result[i] = 0.0f;  /* predict adds */
  predict(data, 0, result);
}}
"""
"""One call per window: what tl2cgen's `predict` wants of its caller, done in C and not in four steps of numpy."""


def library_name(machine: str) -> str:
    return f"model.{machine}.so"


def compiler_for(machine: str) -> tuple[str, ...] | None:
    """A compiler's command; None if there is none here."""
    command, *options = MACHINES.get(machine, ("cc",))
    if machine == platform.machine() and shutil.which(command) is None:
        command = "cc"  # its own compiler goes by that name everywhere
    return (command, *options) if shutil.which(command) else None


def tree_artifacts(machines: tuple[str, ...]) -> tuple[Artifact, ...]:
    """Native libraries first, of this machine before others; then the checkpoint, which any machine can interpret."""
    order = sorted(machines, key=lambda machine: (machine != platform.machine(), machine))
    return (
        *(Artifact(runtime="treelite-native", member=library_name(one), machine=one) for one in order),
        Artifact(runtime="treelite-gtil", member=CHECKPOINT),
    )


def compilers_each(workers: int, forests: int) -> int:
    """How many compilers each of several forests may run at a time: of all together no more than there are workers."""
    return max(1, workers // max(1, forests))


def compile_forest(
    forest: treelite.Model, machines: tuple[str, ...], compilers: int = 1
) -> tuple[dict[str, bytes], Facts]:
    """Members by name, by so many compilers at a time, or as many as there are cores if those are fewer.

    Raises `ConfigError` without a C compiler, `ParityError` if one fails.
    """
    described = json.loads(forest.dump_as_json())
    nodes = sum(len(tree["nodes"]) for tree in described["trees"])
    (classes,) = described["num_class"]
    members = {CHECKPOINT: bytes(forest.serialize_bytes())}
    with tempfile.TemporaryDirectory(prefix="phasewatch-") as name:
        folder = Path(name)
        with hushed(), contextlib.chdir(folder):  # it takes no name that is not UTF-8
            tl2cgen.generate_c_code(
                forest,
                dirpath="c",
                # not `quantize`: it prints thresholds with 8 digits, and float32 needs 9 to come back the same
                params={"parallel_comp": min(UNITS, max(1, forest.num_tree))},
                verbose=False,
            )
        entry = ENTRY.format(features=forest.num_feature, classes=classes)
        (folder / "c" / "entry.c").write_text(entry, "utf-8")
        for machine in machines:
            members[library_name(machine)] = _library(folder / "c", machine, compilers)
    return members, Facts(trees=forest.num_tree, nodes=nodes)


def _library(folder: Path, machine: str, compilers: int) -> bytes:
    compiler = compiler_for(machine)
    if compiler is None:
        raise ConfigError(
            MACHINES.get(machine, ("cc",))[0], "no such program", expected="a C compiler", remedy="install gcc"
        )
    recipe = json.loads((folder / "recipe.json").read_bytes())
    units = [*(source["name"] for source in recipe["sources"]), "entry"]

    def build(unit: str) -> None:
        _run([*compiler, *FLAGS, "-c", f"{unit}.c", "-o", f"{unit}.o"], folder)

    with ThreadPoolExecutor(min(compilers, len(os.sched_getaffinity(0)))) as pool:
        list(pool.map(build, units))
    library = folder / library_name(machine)
    _run([*compiler, "-shared", "-s", "-o", library.name, *(f"{unit}.o" for unit in units), "-lm"], folder)
    return library.read_bytes()


def _run(command: list[str], folder: Path) -> None:
    ended = run_child(command, COMPILER_LIMIT_S, folder)
    if ended.fault is not None:
        raise ParityError(
            command[0],
            ended.complaints[0] if ended.complaints else ended.fault,
            expected="a library",
            remedy="check that it makes shared libraries",
        )
