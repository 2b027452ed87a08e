"""A new bundle's first windows: proven by them, or given up for the last good one, whatever it does to its agent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import BundleError, MissingError, UntrustedKeyError
from contracts.features.schema import FeatureSchema
from edge.deploy import first_try
from edge.deploy.deployment import Deployment, bundle_path, read_deployment
from edge.deploy.follow import Follower
from edge.deploy.site import Site
from edge.deploy.trial import MISSES, STARTS, WINDOWS, Trial, begin
from edge.deploy.verbs import install
from edge.watch import agent
from tests.bundles import make_bundle

OLD, NEW = (f"gbt-realistic-{favourite:012x}" for favourite in range(2))


@pytest.fixture
def site(tmp_path: Path, schema: FeatureSchema, signing_key: Path) -> Site:
    """An old bundle that is proven, and a new one installed over it."""
    site = Site(folder=tmp_path / "state", schema=schema, trust_folder=signing_key.parent)
    for favourite in range(2):
        install(site, make_bundle(tmp_path, schema, signing_key, favourite), allow_unsigned=False, shadow=False)
        if favourite == 0:
            run(site, [False] * WINDOWS)
    return site


def run(site: Site, late: list[bool]) -> str:
    """An agent begins and looks at some windows; the bundle that it began with."""
    active, installed = begin(site)
    trial = Trial(site, installed)
    for one in late:
        trial.window(late=one)
    return active.ref.name


def current(site: Site) -> tuple[str, bool]:
    state = read_deployment(site.folder)
    assert state.current is not None
    return state.current.name, state.current.proven


def why(state: Deployment) -> str:
    assert state.returned is not None
    assert (state.returned.left, state.returned.taken) == (NEW, OLD)
    return state.returned.why


def test_a_bundle_is_proven_by_its_first_windows_on_time(site: Site) -> None:
    assert run(site, [False] * (WINDOWS - 1)) == NEW
    assert current(site) == (NEW, False)
    run(site, [False, True, True, False, False])
    assert current(site) == (NEW, True)


def test_a_bundle_that_misses_its_watchdog_in_a_row_is_given_up(site: Site) -> None:
    run(site, [True] * (MISSES - 1) + [False] + [True] * MISSES)
    assert current(site) == (OLD, True)
    assert why(read_deployment(site.folder)) == f"missed its watchdog {MISSES} times in a row"
    assert run(site, []) == OLD


def test_a_proven_bundle_is_not_given_up_for_being_late(site: Site) -> None:
    run(site, [False] * WINDOWS + [True] * 10)
    assert run(site, [True] * 10) == NEW


def test_a_bundle_whose_agents_end_before_it_is_proven_is_given_up(site: Site) -> None:
    assert [run(site, [False]) for _ in range(STARTS)] == [NEW] * STARTS
    assert run(site, []) == OLD
    assert why(read_deployment(site.folder)) == f"ended {STARTS} times before it had run {WINDOWS} windows"


def test_a_bundle_that_cannot_be_opened_any_more_is_given_up_at_once(site: Site) -> None:
    state = read_deployment(site.folder)
    assert state.current is not None
    bundle_path(site.folder, state.current).write_bytes(b"spoiled")
    assert run(site, []) == OLD
    assert "expected exactly the archive that was packed" in why(read_deployment(site.folder))


def test_an_agent_without_any_bundle_left_says_why(site: Site, tmp_path: Path) -> None:
    for path in (site.folder / "bundles").iterdir():
        path.write_bytes(b"spoiled")
    with pytest.raises(BundleError, match="expected exactly the archive that was packed"):
        begin(site)
    nothing = Site(folder=tmp_path / "nothing", schema=site.schema, trust_folder=site.trust_folder)
    with pytest.raises(MissingError, match="no bundle is installed; expected one; edge install BUNDLE, or --bundle B"):
        begin(nothing)


def test_an_agent_that_was_started_without_its_keys_undoes_nothing(site: Site) -> None:
    run(site, [False] * WINDOWS)
    before = read_deployment(site.folder)
    strange = Site(folder=site.folder, schema=site.schema, trust_folder=None)
    for _ in range(STARTS + 1):
        with pytest.raises(UntrustedKeyError):
            begin(strange)
    assert read_deployment(site.folder) == before
    assert run(site, []) == NEW


def test_agents_that_end_in_order_are_held_against_no_bundle(site: Site) -> None:
    for _ in range(STARTS + 2):
        Follower(site).close()
    assert current(site) == (NEW, False)
    state = read_deployment(site.folder)
    assert state.current is not None
    assert state.current.starts == 0


def test_a_bundle_is_not_given_up_for_one_that_would_not_run_either(site: Site) -> None:
    state = read_deployment(site.folder)
    assert state.previous is not None
    bundle_path(site.folder, state.previous).write_bytes(b"spoiled")
    run(site, [True] * MISSES)
    assert current(site) == (NEW, False)


def test_a_shadow_that_ends_its_agent_is_dismissed_and_nobody_else_is_blamed(
    site: Site, tmp_path: Path, schema: FeatureSchema, signing_key: Path
) -> None:
    install(site, make_bundle(tmp_path, schema, signing_key, 2), allow_unsigned=False, shadow=True)
    command = [sys.executable, "-c", AGENT, str(site.folder), str(signing_key.parent)]
    environment = {**os.environ, "PW2_CRASH_ON_LOAD": "1"}
    first = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert first.returncode == -signal.SIGABRT
    second = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert second.returncode == 0, second.stderr
    assert second.stdout.strip() == NEW
    assert "is dismissed: an agent ended while it was new" in second.stderr
    state = read_deployment(site.folder)
    assert (state.shadow, state.returned) == (None, None)
    assert current(site) == (NEW, True)


def test_the_only_bundle_is_tried_again_and_again(tmp_path: Path, schema: FeatureSchema, signing_key: Path) -> None:
    site = Site(folder=tmp_path / "state", schema=schema, trust_folder=signing_key.parent)
    install(site, make_bundle(tmp_path, schema, signing_key, 0), allow_unsigned=False, shadow=False)
    assert [run(site, []) for _ in range(STARTS + 2)] == [OLD] * (STARTS + 2)
    run(site, [True] * MISSES)
    assert current(site) == (OLD, False)


AGENT = """
import sys
from pathlib import Path
from contracts.features.schema import feature_schema
from contracts.bundle.keys import load_trusted_keys
from contracts.telemetry.episode import read_episode
from edge.watch import agent
from edge.deploy import trial
from edge.deploy.follow import Follower
from edge.deploy.verbs import Site
from edge.watch.health import Health
from edge.deliver.outbox import opened
from edge.feeds.replay import replay
from tests.recordings import ONE
agent.WINDOW_HANGS_S = trial.OPENING_HANGS_S = 1
schema = feature_schema()
folder = Path(sys.argv[1])
models = Follower(Site(folder=folder, schema=schema, trust_folder=Path(sys.argv[2])))
with opened(folder / "outbox") as outbox:
    replay(agent.Agent(models, schema, node="n", outbox=outbox, health=Health()), read_episode(ONE), schema, None)
models.close()
print(models.active.ref.name)
"""


@pytest.mark.parametrize("fault", ["CRASH", "CRASH_ON_LOAD", "HANG"])
def test_agents_that_a_new_library_crashes_or_hangs_return_to_the_last_good_one(
    site: Site, signing_key: Path, fault: str
) -> None:
    """Real processes, a real native library, started again as a service manager would."""
    ended = []
    for _ in range(STARTS + 1):
        done = subprocess.run(
            [sys.executable, "-c", AGENT, str(site.folder), str(signing_key.parent)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, f"PW1_{fault}": "1"},
        )
        ended.append(done.returncode == 0)
    assert ended == [False] * STARTS + [True], done.stderr
    assert done.stdout.strip() == OLD
    assert f"bundle {NEW} is given up for {OLD}: ended {STARTS} times" in done.stderr
    assert current(site) == (OLD, True)


def test_the_manual_says_how_long_and_how_often_as_the_code_does() -> None:
    manual = " ".join((Path(__file__).parents[2] / "docs" / "deploy.md").read_text().split())
    assert f"hangs when opening it takes longer than {first_try.OPENING_HANGS_S:.0f} s" in manual
    assert f"does not answer within {first_try.OPENING_HANGS_S:.0f} s" in manual
    assert f"or one window longer than {agent.WINDOW_HANGS_S:.0f} s" in manual
    words = {3: "three"}
    assert f"A new bundle is proven by {words[WINDOWS]} windows on time" in manual
    assert f"when {words[STARTS]} agents were ended with it in hand" in manual
    assert f"when {words[MISSES]} windows in a row" in manual
