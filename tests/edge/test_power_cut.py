"""A power cut at any step of a verb leaves an agent that works, with the old bundle or with the new one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from contracts.features.schema import FeatureSchema
from edge.deploy.site import Site
from edge.deploy.verbs import install
from tests.bundles import make_bundle

FIRST, SECOND, THIRD = (f"gbt-realistic-{favourite:012x}" for favourite in range(3))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, schema: FeatureSchema, signing_key: Path) -> list[Path]:
    folder = tmp_path_factory.mktemp("made")
    return [make_bundle(folder, schema, signing_key, favourite) for favourite in range(3)]


def cut(template: Path, key: Path, verb: str, bundle: Path | None = None) -> list[dict[str, Any]]:
    """What every step of a verb left when it was the last one; the last is of a verb that was not cut."""
    command = [sys.executable, "-m", "tests.edge.power", str(template), str(key.parent), verb]
    done = subprocess.run(
        [*command, str(bundle)] if bundle else command, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("verb", ["install", "shadow", "rollback", "promote", "first install"])
def test_a_power_cut_at_any_step_leaves_the_old_bundle_or_the_new_one_and_nothing_between(
    tmp_path: Path, made: list[Path], schema: FeatureSchema, signing_key: Path, verb: str
) -> None:
    template = tmp_path / "template"
    site = Site(folder=template, schema=schema, trust_folder=signing_key.parent)
    if verb != "first install":
        install(site, made[0], allow_unsigned=False, shadow=False)
        install(site, made[1], allow_unsigned=False, shadow=False)
    if verb == "promote":
        install(site, made[2], allow_unsigned=False, shadow=True)
    takes_bundle = verb not in ("rollback", "promote")
    steps = cut(template, signing_key, verb.removeprefix("first "), made[2] if takes_bundle else None)

    role = "shadow" if verb == "shadow" else "current"
    old = {"install": SECOND, "shadow": None, "rollback": SECOND, "promote": SECOND, "first install": None}[verb]
    new = FIRST if verb == "rollback" else THIRD
    assert [step["killed"] for step in steps] == [True] * (len(steps) - 1) + [False]
    assert len(steps) > (25 if takes_bundle else 12)
    found = [step[role] for step in steps]
    switch = found.index(new)
    assert found == [old] * switch + [new] * (len(steps) - switch)
    assert 0 < switch < len(steps) - 1  # some were cut before the switch, and some after it
    assert {"after fsync", "after replace"} <= {step["at"] for step in steps} or any(
        step["at"].startswith("os.rename") for step in steps
    )
    assert [step["left"] for step in steps] == [[]] * len(steps)
    for step in steps:  # what was cut can be done again, unless it was done
        done_already = step[role] == new and verb in ("promote", "shadow")
        assert step["again"] == "done" or (done_already and step["again"].startswith("ConfigError: ")), step
