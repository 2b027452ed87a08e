"""What was built on x86 behaves on a Pi's processor as here: every bundle installs, tests itself and decides alike.

Emulated (tests/arm64/userland.py): it shows what a Pi computes, not how fast.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.bundle import BundleManifest, read_bundle
from contracts.features import FeatureSchema
from tests.arm64.userland import python_of
from tests.brokers import Subscriber
from tests.bundles import make_bundle
from tests.conftest import Build
from tests.debian import SUITES, Suite
from tests.recordings import ONE
from trainer.compile.convert import Converted, convert
from trainer.corpus.dataset import open_dataset
from trainer.split import load_split

REPOSITORY = Path(__file__).resolve().parents[2]
USERLANDS = REPOSITORY / "build" / "arm64"
INTERPRETER = {"3.11": "tflite-runtime", "3.13": "ai-edge-litert"}
TOLERANCE = {"float16": 2e-5, "dynamic int8": 5e-3, "full int8": 0.04}
"""How far a probability may be off by the form of the net: floats are summed in another order on another machine, a
float that lies between two of 256 steps may fall to either side, and a whole int8 net carries that on."""
FULL = ("cnn-oracle", "lstm-oracle", "transformer-oracle")
"""Nets that are also asked in full int8, which does not ship (docs/adr/0020)."""

pytestmark = [pytest.mark.slow, pytest.mark.arm64]


@pytest.fixture(scope="session", params=SUITES, ids=lambda suite: f"python{suite.python}")
def suite(request: pytest.FixtureRequest) -> Suite:
    found: Suite = request.param
    if not python_of(USERLANDS, found).exists():
        pytest.fail(
            "there is no arm64 userland: `make arm64` unpacks it, `make test` and `make test-arm64` do so first"
        )
    return found


def started(python: Path | str, *arguments: object) -> list[str]:
    return [str(python), "-m", *map(str, arguments)]


def run(python: Path | str, *arguments: object, status: int = 0) -> str:
    """A module's output, natively or emulated."""
    done = subprocess.run(
        started(python, *arguments), cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=400
    )
    assert done.returncode == status, done.stderr
    return done.stdout or done.stderr


@dataclass(frozen=True)
class Ask:
    """All bundles of a build, each with the held-out windows as it looks at them."""

    manifests: dict[str, BundleManifest]
    document: dict[str, Any]

    def answered(self, python: Path | str, out: Path, version: str) -> dict[str, Any]:
        out.mkdir()
        asked = {**self.document, "interpreter": INTERPRETER[version]}
        (out / "ask.json").write_text(json.dumps(asked))
        run(python, "tests.arm64.answers", out / "ask.json", out)
        said: dict[str, Any] = json.loads((out / "said.json").read_text())
        return said


@pytest.fixture(scope="session")
def ask(built: Build, schema: FeatureSchema, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    folder = tmp_path_factory.mktemp("ask")
    dataset = open_dataset(built.out / "dataset", schema)
    split = load_split(built.out / "split-held_out_host.json", dataset.digest)
    manifests, bundles = {}, {}
    for path in sorted((built.out / "bundles").iterdir()):
        manifest = read_bundle(path, schema=schema, trust=built.trust).manifest
        title = f"{manifest.architecture}-{manifest.threat_model}"
        windows = dataset.load(manifest.view, manifest.channels).of(split.test).x
        np.save(folder / f"{title}.npy", windows, allow_pickle=False)
        manifests[title], bundles[title] = manifest, [str(path), str(folder / f"{title}.npy")]
    assert len(bundles) == 12
    models = {}
    for title in FULL:
        windows = np.load(bundles[title][1], allow_pickle=False)
        checkpoint = built.out / "checkpoints" / "held_out_host" / title / "full-0"
        made = convert(title.partition("-")[0], {"full int8": checkpoint}, examples=windows[::3])["full int8"]
        assert isinstance(made, Converted), made
        (folder / f"{title}.tflite").write_bytes(made.members["model.tflite"])
        models[f"{title} in full int8"] = [str(folder / f"{title}.tflite"), bundles[title][1]]
    return Ask(manifests, {"trust": str(built.key.parent), "bundles": bundles, "models": models})


@pytest.fixture(scope="session")
def both(ask: Ask, suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """The folders of what was said here and there, and what there says of itself."""
    folder = tmp_path_factory.mktemp(suite.name)
    ask.answered(sys.executable, folder / "here", suite.python)
    there = ask.answered(python_of(USERLANDS, suite), folder / "there", suite.python)
    return folder / "here", folder / "there", there


def test_all_twelve_bundles_install_and_test_themselves_on_aarch64(
    both: tuple[Path, Path, dict[str, Any]], ask: Ask, suite: Suite
) -> None:
    _, there, said = both
    assert said["machine"] == "aarch64"
    assert said["python"].startswith(f"{suite.python}.")
    assert said["runtimes"].keys() == ask.manifests.keys()
    for title, runtime in said["runtimes"].items():
        assert runtime.startswith("treelite-native" if title.startswith("gbt") else INTERPRETER[suite.python])
        state = json.loads((there / "state" / title / "deployment.json").read_text())
        assert state["current"]["name"] == ask.manifests[title].name


def test_every_held_out_window_is_decided_as_here(both: tuple[Path, Path, dict[str, Any]], ask: Ask) -> None:
    here, there, _ = both
    worst = {}
    for title, manifest in ask.manifests.items():
        one, other = (np.load(folder / f"{title}.npy", allow_pickle=False) for folder in (here, there))
        assert one.shape == other.shape == (295, 5)
        np.testing.assert_array_equal(one.argmax(axis=1), other.argmax(axis=1), err_msg=title)
        np.testing.assert_array_equal(_abstains(one, manifest), _abstains(other, manifest), err_msg=title)
        worst[title] = float(np.abs(one - other).max())
        assert worst[title] <= (0 if manifest.architecture == "gbt" else TOLERANCE[manifest.form]), title
    print(f"\nlargest difference of a probability between machines: {worst}")


@pytest.mark.parametrize("title", FULL)
def test_int8_nets_compute_there_what_they_compute_here(
    both: tuple[Path, Path, dict[str, Any]], suite: Suite, title: str
) -> None:
    """Alike to a step or two everywhere, and decided alike where the decision is not as close as that."""
    here, there, _ = both
    one, other = (np.load(folder / f"{title} in full int8.npy", allow_pickle=False) for folder in (here, there))
    off = np.abs(one - other).max(axis=1)
    second, first = np.sort(one, axis=1)[:, -2:].T
    unlike = one.argmax(axis=1) != other.argmax(axis=1)
    print(f"\n{title} in full int8: {np.mean(off < 2e-5):.1%} of windows alike, {unlike.sum()} decided otherwise")
    assert off.max() <= TOLERANCE["full int8"]
    assert not unlike[first - second > TOLERANCE["full int8"]].any()
    if INTERPRETER[suite.python] == "ai-edge-litert":  # its kernels are the same arithmetic on both machines
        assert not unlike.any()
        assert np.mean(off < 2e-5) == 1.0 if title.startswith("cnn") else np.mean(off < 2e-5) > 0.9


def _abstains(p: NDArray[np.float32], manifest: BundleManifest) -> NDArray[np.bool_]:
    from edge.scores import calibrated

    sure: NDArray[np.bool_] = calibrated(p, manifest.temperature).max(axis=1) < manifest.abstain_below
    return sure


@pytest.mark.system
@pytest.mark.parametrize("title", ["gbt-realistic", "cnn-oracle"])
def test_a_replay_there_says_what_a_replay_here_says(
    built: Build, suite: Suite, mosquitto: str, tmp_path: Path, title: str
) -> None:
    """Installed by the command, replayed by the command, through a real broker."""

    def heard(python: Path | str, name: str) -> list[dict[str, Any]]:
        where = ["--state", tmp_path / name, "--trust", built.key.parent]
        run(python, "edge.cli", "install", built.bundle(title), *where)
        (tmp_path / "heard").mkdir(exist_ok=True)
        subscriber = Subscriber(mosquitto, tmp_path / "heard", f"phasewatch/{name}/#")
        run(
            python, "edge.cli", "replay", ONE, "--broker", mosquitto, "--node", name, *where,
            "--outbox", tmp_path / f"{name}.sqlite",
        )  # fmt: skip
        status = json.loads(run(python, "edge.cli", "status", "--json", *where))
        assert status["current"]["proven"] is True
        subscriber.wait_for(2, "/availability")  # online, and stopped: the last that it says
        payloads = subscriber.wait_for(1, "/window")
        subscriber.close()
        return [json.loads(payload)["data"] for payload in payloads]

    here, there = heard(sys.executable, "here"), heard(python_of(USERLANDS, suite), "there")
    assert len(here) == len(there) > 20
    for one, other in zip(here, there, strict=True):
        p, q = one.pop("probabilities"), other.pop("probabilities")
        np.testing.assert_allclose(
            list(p.values()), list(q.values()), atol=0 if title.startswith("gbt") else TOLERANCE["dynamic int8"]
        )
        runtimes = one["bundle"].pop("runtime"), other["bundle"].pop("runtime")
        assert runtimes[1].startswith("treelite-native" if title.startswith("gbt") else INTERPRETER[suite.python])
        assert one == other


def test_a_library_for_a_workstation_is_refused_there(
    suite: Suite, schema: FeatureSchema, signing_key: Path, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path, schema, signing_key)
    where = ["--state", tmp_path / "state", "--trust", signing_key.parent]
    said = run(python_of(USERLANDS, suite), "edge.cli", "install", bundle, *where, status=2)
    assert "no artifact runs on this machine (treelite-native: built for x86_64); expected one for aarch64" in said
    assert not (tmp_path / "state" / "deployment.json").exists()
