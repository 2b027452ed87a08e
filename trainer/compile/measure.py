"""Candidates through `edge.runtimes`, each in a process that never imports TensorFlow."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.bundle.archive import Artifact
from contracts.errors import ParityError
from edge.runtimes.tflite import installed_interpreters
from trainer.compile.candidate import Candidate
from trainer.compile.child import run_child
from trainer.compile.probe import ProbeJob, Report

LIMIT_S, LIMIT_PER_WINDOW_S = 600, 0.1
"""For one artifact in one runtime. A window takes less than a millisecond, and its process about a second to start."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One artifact through one runtime. probabilities: (N, K)."""

    artifact: Artifact
    runtime: str
    probabilities: NDArray[np.float32]
    p50_ms: float
    p99_ms: float


def run_candidate(candidate: Candidate, windows: Path, classes: int) -> Iterator[Run]:
    """Every artifact through every runtime installed, in order of preference: the first is what ships.

    windows: an .npy file of (N, C, T) or (N, F) float32. Raises `ParityError` for one that does not run, or not to its
    end.
    """
    for artifact in candidate.artifacts:
        interpreters = installed_interpreters() if artifact.runtime == "tflite" else (None,)
        for interpreter in interpreters:
            yield _run(candidate.members[artifact.member], artifact, interpreter, windows, classes)


def _run(data: bytes, artifact: Artifact, interpreter: str | None, windows: Path, classes: int) -> Run:
    with tempfile.TemporaryDirectory(prefix="phasewatch-") as name:
        folder = Path(name)
        file, answers = folder / artifact.member, folder / "probabilities.npy"
        job = ProbeJob(
            artifact=artifact,
            data=os.fsencode(file),
            windows=os.fsencode(windows),
            probabilities=os.fsencode(answers),
            classes=classes,
            interpreter=interpreter,
        )
        file.write_bytes(data)
        (folder / "job.json").write_bytes(msgspec.json.encode(job))
        command = [sys.executable, "-m", "trainer.compile.probe", str(folder / "job.json")]
        ended = run_child(command, LIMIT_S + LIMIT_PER_WINDOW_S * _count(windows))
        if ended.fault is not None:
            raise ParityError(
                f"{artifact.member} in {interpreter or artifact.runtime}",
                ended.complaints[-1] if ended.complaints else ended.fault,
                expected="to run",
                remedy="do not ship it",
            )
        report = msgspec.json.decode(ended.said, type=Report)
        return Run(
            artifact=artifact,
            runtime=report.runtime,
            probabilities=np.load(answers, allow_pickle=False),
            p50_ms=report.p50_ms,
            p99_ms=report.p99_ms,
        )


def _count(windows: Path) -> int:
    return len(np.load(windows, mmap_mode="r", allow_pickle=False))
