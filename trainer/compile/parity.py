"""The proof: the artifact, run through edge.runtimes in a process without TensorFlow, against its model."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.bundle import Artifact
from contracts.errors import ParityError
from edge.runtimes.tflite import installed_interpreters
from edge.scores import agreement
from trainer.compile.base import Compiled
from trainer.compile.probe import Job, Report

TREE_TOLERANCE = 1e-5
NET_AGREEMENT = 0.95
"""Until the paired gate of the full compile stage: a quantized net must decide like its model on 19 windows of 20."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One artifact through one runtime. probabilities: (N, K)."""

    artifact: Artifact
    runtime: str
    probabilities: NDArray[np.float32]
    p50_ms: float
    p99_ms: float


def run_artifacts(compiled: Compiled, windows: Path, classes: int) -> list[Run]:
    """Every artifact through every runtime installed, in order of preference: the first is what ships.

    windows: an .npy file of (N, C, T) or (N, F) float32.
    """
    runs = []
    for artifact in compiled.artifacts:
        interpreters = installed_interpreters() if artifact.runtime == "tflite" else (None,)
        runs += [_run(compiled, artifact, interpreter, windows, classes) for interpreter in interpreters]
    return runs


def _run(compiled: Compiled, artifact: Artifact, interpreter: str | None, windows: Path, classes: int) -> Run:
    with tempfile.TemporaryDirectory(prefix="phasewatch-") as name:
        folder = Path(name)
        job = Job(
            artifact=artifact,
            data=str(folder / artifact.member),
            windows=str(windows),
            probabilities=str(folder / "probabilities.npy"),
            classes=classes,
            interpreter=interpreter,
        )
        Path(job.data).write_bytes(compiled.members[artifact.member])
        (folder / "job.json").write_bytes(msgspec.json.encode(job))
        command = [sys.executable, "-m", "trainer.compile.probe", str(folder / "job.json")]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"ended with {done.returncode}"]
            raise ParityError(
                artifact.member, lines[-1], expected=f"to run in {interpreter or artifact.runtime}", remedy="see there"
            )
        report = msgspec.json.decode(done.stdout, type=Report)
        return Run(
            artifact=artifact,
            runtime=report.runtime,
            probabilities=np.load(job.probabilities, allow_pickle=False),
            p50_ms=report.p50_ms,
            p99_ms=report.p99_ms,
        )


def prove(name: str, run: Run, model: NDArray[np.float32], *, quantized: bool) -> None:
    """Refuse an artifact that does not behave as its model did ((N, K) probabilities). Raises `ParityError`."""
    where = f"{name} in {run.runtime}"
    if not (np.isfinite(run.probabilities).all() and np.isfinite(model).all()):
        raise ParityError(where, "probabilities that are not numbers", expected="numbers", remedy="do not ship it")
    difference = float(np.abs(run.probabilities - model).max())
    if not quantized and not difference <= TREE_TOLERANCE:
        raise ParityError(
            where, f"off by {difference:.2e}", expected=f"at most {TREE_TOLERANCE:.0e}", remedy="do not ship it"
        )
    alike = agreement(run.probabilities, model)
    if alike < NET_AGREEMENT:
        raise ParityError(
            where,
            f"decides like its model on {alike:.1%} of windows",
            expected=f"{NET_AGREEMENT:.0%} at least",
            remedy="do not ship it",
        )
