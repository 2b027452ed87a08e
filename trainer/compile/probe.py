"""Run an artifact as the edge would, in a process of its own that never imports TensorFlow.

python -m trainer.compile.probe JOB.json      (written and read by trainer/compile/measure.py)
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec
import numpy as np

from contracts.bundle.archive import Artifact
from edge.runtimes import Runtime, TfliteRuntime, runtime_of

FORBIDDEN = ("tensorflow", "keras", "xgboost", "pyarrow", "sklearn")


class ProbeJob(msgspec.Struct, kw_only=True):
    """What to run: an artifact's bytes over `windows` (an .npy file), through a TFLite interpreter if it is one. Paths
    are bytes: not every name is UTF-8."""

    artifact: Artifact
    data: bytes
    windows: bytes
    probabilities: bytes
    classes: int
    interpreter: str | None


class Report(msgspec.Struct, kw_only=True):
    """Which runtime ran, and how long one window took (ms)."""

    runtime: str
    p50_ms: float
    p99_ms: float


def open_job(job: ProbeJob) -> Runtime:
    """The runtime that the job asks for."""
    data = Path(os.fsdecode(job.data)).read_bytes()
    if job.interpreter is not None:
        return TfliteRuntime(data, classes=job.classes, interpreter=job.interpreter)
    return runtime_of(job.artifact).load(data, classes=job.classes)


def main() -> None:
    """Run the job named on the command line; the report goes to standard output."""
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=ProbeJob)
    windows = np.load(os.fsdecode(job.windows), mmap_mode="r", allow_pickle=False)
    runtime = open_job(job)
    for window in windows[:10]:
        runtime.predict(np.array(window))
    took = np.empty(len(windows))
    result = np.empty((len(windows), job.classes), np.float32)
    for i, mapped in enumerate(windows):
        window = np.array(mapped)  # read before the clock runs
        start = time.perf_counter()
        result[i] = runtime.predict(window)
        took[i] = time.perf_counter() - start
    loaded = [name for name in FORBIDDEN if name in sys.modules]
    if loaded:
        raise SystemExit(f"the probe imported {', '.join(loaded)}: it would prove nothing")
    np.save(os.fsdecode(job.probabilities), result, allow_pickle=False)
    p50, p99 = np.percentile(took * 1000, [50, 99])
    sys.stdout.buffer.write(msgspec.json.encode(Report(runtime=runtime.name, p50_ms=float(p50), p99_ms=float(p99))))


if __name__ == "__main__":
    main()
