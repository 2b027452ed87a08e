"""Install bundles, open models, and ask them about windows, on whatever machine this runs: what they say goes into a
folder.

python -m tests.arm64.answers ASK.json OUT      (by tests/arm64/test_arm64.py, natively and under emulation)
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import numpy as np

from contracts.bundle.archive import Artifact
from contracts.features.schema import feature_schema
from edge.deploy.site import Site
from edge.deploy.verbs import install
from edge.runtimes import Runtime, runtime_of


def main(ask: Path, out: Path) -> None:
    """ASK: {trust, bundles: {title: [file, windows.npy]}, models: {title: [runtime, {machine: file}, windows.npy]}}.

    Leaves `<title>.npy` (N, K) of each, and said.json.
    """
    asked = json.loads(ask.read_text())
    trust, schema = Path(asked["trust"]), feature_schema()
    runtimes: dict[str, Runtime] = {}
    for title, (bundle, _) in asked["bundles"].items():
        site = Site(folder=out / "state" / title, schema=schema, trust_folder=trust)
        active, _ = install(site, Path(bundle), allow_unsigned=False, shadow=False)
        runtimes[title] = active.runtime
    for title, (kind, files, _) in asked["models"].items():
        file = Path(files[platform.machine()])
        runtimes[title] = runtime_of(Artifact(runtime=kind, member=file.name)).load(file.read_bytes(), classes=5)
    for title, (*_, windows) in {**asked["bundles"], **asked["models"]}.items():
        said = runtimes[title].predict_many(np.load(windows, allow_pickle=False))
        np.save(out / f"{title}.npy", said, allow_pickle=False)
    names = {title: runtime.name for title, runtime in runtimes.items()}
    document = {"machine": platform.machine(), "python": platform.python_version(), "runtimes": names}
    (out / "said.json").write_text(json.dumps(document))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
