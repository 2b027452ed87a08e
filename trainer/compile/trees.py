"""gbt -> Treelite: a checkpoint, and a native library for this machine."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tl2cgen
import treelite

from contracts.bundle import Artifact
from contracts.errors import ConfigError, ParityError
from trainer.architectures.gbt import GbtModel
from trainer.compile.base import Compiled
from trainer.quiet import hushed

# One file per unit keeps the compiler small; without contraction the sums round as XGBoost's do.
UNITS = 40
FLAGS = ("-O1", "-ffp-contract=off", "-fPIC", "-std=c99", "-w")


def compile_trees(model: GbtModel, compiler: str = "cc") -> Compiled:
    """Artifacts of a gbt, the native one first. Raises `ConfigError` without a C compiler."""
    forest = treelite.frontend.from_xgboost(model.booster)
    with tempfile.TemporaryDirectory(prefix="phasewatch-") as name:
        folder = Path(name)
        forest.serialize(os.fspath(folder / "model.tl"))
        library = _native(forest, folder, compiler)
        machine = platform.machine()
        native = f"model.{machine}.so"
        return Compiled(
            artifacts=(
                Artifact(runtime="treelite-native", member=native, machine=machine),
                Artifact(runtime="treelite-gtil", member="model.tl"),
            ),
            members={native: library.read_bytes(), "model.tl": (folder / "model.tl").read_bytes()},
            tolerance=1e-5,
            quantized=False,
        )


def _native(forest: treelite.Model, folder: Path, compiler: str) -> Path:
    if shutil.which(compiler) is None:
        raise ConfigError(compiler, "no such program", expected="a C compiler", remedy="install gcc")
    with hushed():
        tl2cgen.generate_c_code(
            forest,
            dirpath=folder / "c",
            # not `quantize`: it prints thresholds with 8 digits, and float32 needs 9 to come back the same
            params={"parallel_comp": min(UNITS, max(1, forest.num_tree))},
            verbose=False,
        )
    recipe = json.loads((folder / "c" / "recipe.json").read_text())
    units = [source["name"] for source in recipe["sources"]]

    def build(unit: str) -> None:
        _run([compiler, *FLAGS, "-c", f"{unit}.c", "-o", f"{unit}.o"], folder / "c")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(build, units))
    library = folder / "c" / "model.so"
    _run([compiler, "-shared", "-s", "-o", library.name, *(f"{unit}.o" for unit in units), "-lm"], folder / "c")
    return library


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise ParityError(
            " ".join(command), lines[0], expected="a library", remedy="check that the compiler makes shared libraries"
        )
