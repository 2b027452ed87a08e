"""What was built on x86 behaves on a Pi's processor as here: every bundle installs, tests itself and decides alike.

Emulated (tests/arm64/userland.py): it shows what a Pi computes, not how fast. Bundles have the weights that this
processor's arithmetic gave, and are held to what their manifests promise; golden models have weights of their own, and
are held to figures.
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

from contracts.bundle.archive import BundleManifest, read_bundle
from contracts.features.schema import FeatureSchema
from contracts.vocabulary import PHASES
from tests.arm64.userland import python_of
from tests.brokers import Subscriber
from tests.bundles import make_bundle
from tests.conftest import Build
from tests.debian import SUITES, Suite
from tests.golden.models import FOREST, NETS, golden
from tests.recordings import ONE
from trainer.compile.convert import Converted, convert
from trainer.compile.forests import library_name
from trainer.dataset.open import open_dataset
from trainer.split import load_split

REPOSITORY = Path(__file__).resolve().parents[2]
USERLANDS = REPOSITORY / "build" / "arm64"
INTERPRETER = {"3.11": "tflite-runtime", "3.13": "ai-edge-litert"}
MACHINES = ("x86_64", "aarch64")

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
    """All bundles of a build, each with the held-out windows as it looks at them, and the golden models with theirs.

    document: as tests/arm64/answers.py wants it; folder: where it lies, and where answers go.
    """

    manifests: dict[str, BundleManifest]
    folder: Path

    def answered(self, python: Path | str, name: str) -> Answers:
        out = self.folder / name
        out.mkdir()
        run(python, "tests.arm64.answers", self.folder / "ask.json", out)
        return Answers(out, json.loads((out / "said.json").read_text()))


@dataclass(frozen=True)
class Answers:
    """What one machine said: probabilities (N, K) by title, and its own description."""

    folder: Path
    said: dict[str, Any]

    def __getitem__(self, title: str) -> NDArray[np.float32]:
        found: NDArray[np.float32] = np.load(self.folder / f"{title}.npy", allow_pickle=False)
        return found


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
    models = {name: _golden(name, folder) for name in (*NETS, FOREST)}
    document = {"trust": str(built.key.parent), "bundles": bundles, "models": models}
    (folder / "ask.json").write_text(json.dumps(document))
    return Ask(manifests, folder)


def _golden(name: str, folder: Path) -> list[Any]:
    """Runtime, files by machine, windows."""
    one = golden(name)
    np.save(folder / f"{name}.npy", one.windows, allow_pickle=False)
    if name in NETS:
        (folder / f"{name}.tflite").write_bytes(one.data)
        return ["tflite", dict.fromkeys(MACHINES, str(folder / f"{name}.tflite")), str(folder / f"{name}.npy")]
    (folder / "model.tl").write_bytes(one.data)
    made = convert("gbt", {name: folder / "model.tl"}, machines=MACHINES)[name]
    assert isinstance(made, Converted), made
    files = {machine: folder / library_name(machine) for machine in MACHINES}
    for file in files.values():
        file.write_bytes(made.members[file.name])
    return ["treelite-native", {machine: str(file) for machine, file in files.items()}, str(folder / f"{name}.npy")]


@pytest.fixture(scope="session")
def here(ask: Ask) -> Answers:
    """What this machine says, once for both suites: what a manifest promises holds between runtimes, too."""
    return ask.answered(sys.executable, "here")


@pytest.fixture(scope="session")
def there(ask: Ask, suite: Suite) -> Answers:
    return ask.answered(python_of(USERLANDS, suite), suite.name)


def test_every_bundle_installs_and_tests_itself_on_aarch64(there: Answers, ask: Ask, suite: Suite) -> None:
    assert there.said["machine"] == "aarch64"
    assert there.said["python"].startswith(f"{suite.python}.")
    assert there.said["runtimes"].keys() == {*ask.manifests, *NETS, FOREST}
    for title, runtime in there.said["runtimes"].items():
        trees = title.startswith("gbt") or title == FOREST
        assert runtime.startswith("treelite-native" if trees else INTERPRETER[suite.python])
    for title, manifest in ask.manifests.items():
        state = json.loads((there.folder / "state" / title / "deployment.json").read_text())
        assert state["current"]["name"] == manifest.name


def test_golden_models_say_there_what_they_said_where_they_were_made(there: Answers) -> None:
    for name in (*NETS, FOREST):
        said, expected = there[name], golden(name).expected
        off = float(np.abs(said - expected).max())
        print(f"\n{name}: off by {off:.1e}")
        assert off <= NETS.get(name, 1e-6), name
        np.testing.assert_array_equal(said.argmax(axis=1), expected.argmax(axis=1), err_msg=name)


def test_held_out_windows_are_decided_as_here_wherever_the_decision_is_not_closer_than_the_manifest_allows(
    here: Answers, there: Answers, ask: Ask
) -> None:
    for title, manifest in ask.manifests.items():
        one, other = here[title], there[title]
        assert one.shape == other.shape
        assert np.isfinite(other).all(), title
        np.testing.assert_allclose(other.sum(axis=1), 1, atol=1e-5, err_msg=title)
        print(f"\n{title}, {manifest.form}: off by {np.abs(one - other).max():.1e}; may be {manifest.tolerance:g}")
        second, first = np.sort(one, axis=1)[:, -2:].T
        clear = first - second > 2 * manifest.tolerance
        np.testing.assert_array_equal(one.argmax(axis=1)[clear], other.argmax(axis=1)[clear], err_msg=title)


@pytest.mark.system
def test_a_replay_there_says_what_a_replay_here_says(
    built: Build, schema: FeatureSchema, suite: Suite, mosquitto: str, tmp_path: Path
) -> None:
    """Installed by the command, replayed by the command, through a real broker: a forest on one Python, a net on the
    other."""
    title = "gbt-realistic" if suite.python == "3.11" else "cnn-oracle"

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
    manifest = read_bundle(built.bundle(title), schema=schema, trust=built.trust).manifest
    assert len(here) == len(there) > 20
    alike = True  # up to now: a filter remembers
    for one, other in zip(here, there, strict=True):
        p, q = (np.array(list(some.pop("probabilities").values())) for some in (one, other))
        alike = alike and np.array_equal(p, q)
        decisions = [(some.pop("decided"), some.pop("alarm"), some.pop("phase")) for some in (one, other)]
        infected = [some.pop("infected") for some in (one, other)]
        runtimes = one["bundle"].pop("runtime"), other["bundle"].pop("runtime")
        assert runtimes[1].startswith("treelite-native" if title.startswith("gbt") else INTERPRETER[suite.python])
        assert one == other  # all that no model has a part in
        np.testing.assert_allclose(q.sum(), 1, atol=1e-5)
        if abs(q.max() - manifest.abstain_below) > 1e-5:  # as events round
            assert decisions[1][0] == (PHASES[int(q.argmax())] if q.max() > manifest.abstain_below else None)
        if np.array_equal(p, q):
            assert decisions[0][0] == decisions[1][0]
        if alike:
            assert infected[0] == pytest.approx(infected[1], abs=1e-4)


def test_a_library_for_a_workstation_is_refused_there(
    suite: Suite, schema: FeatureSchema, signing_key: Path, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path, schema, signing_key)
    where = ["--state", tmp_path / "state", "--trust", signing_key.parent]
    said = run(python_of(USERLANDS, suite), "edge.cli", "install", bundle, *where, status=2)
    assert "no artifact runs on this machine (treelite-native: built for x86_64); expected one for aarch64" in said
    assert not (tmp_path / "state" / "deployment.json").exists()
