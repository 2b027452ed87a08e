"""Install bundles and ask them about windows, on whatever machine this runs: what they say goes into a folder.

python -m tests.arm64.answers ASK.json OUT      (by tests/arm64/test_arm64.py, natively and under emulation)
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import numpy as np

from contracts.features import feature_schema
from edge.deploy.verbs import Site, install
from edge.runtimes import Runtime, TfliteRuntime


def main(ask: Path, out: Path) -> None:
    """ASK: {trust, interpreter, bundles: {title: [file, windows.npy]}, models: likewise, bare .tflite files}.

    Leaves `<title>.npy` (N, K) of each, and said.json.
    """
    asked = json.loads(ask.read_text())
    trust, schema = Path(asked["trust"]), feature_schema()
    runtimes = {}
    for title, (bundle, windows) in asked["bundles"].items():
        site = Site(folder=out / "state" / title, schema=schema, trust_folder=trust)
        active, _ = install(site, Path(bundle), allow_unsigned=False, shadow=False)
        runtime: Runtime = active.runtime
        if isinstance(runtime, TfliteRuntime):  # on a workstation there are two
            (artifact,) = active.bundle.manifest.artifacts
            data = active.bundle.members[artifact.member]
            runtime = TfliteRuntime(data, classes=5, interpreter=asked["interpreter"])
        runtimes[title] = runtime.name
        np.save(out / f"{title}.npy", runtime.predict_many(np.load(windows, allow_pickle=False)), allow_pickle=False)
    for title, (model, windows) in asked["models"].items():
        bare = TfliteRuntime(Path(model).read_bytes(), classes=5, interpreter=asked["interpreter"])
        np.save(out / f"{title}.npy", bare.predict_many(np.load(windows, allow_pickle=False)), allow_pickle=False)
    said = {"machine": platform.machine(), "python": platform.python_version(), "runtimes": runtimes}
    (out / "said.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
