"""Where things live by default: homes of any name, homes that are not there yet, and users who have none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import ConfigError
from contracts.features.schema import FeatureSchema
from contracts.shell import paths
from tests.bundles import make_bundle
from tests.recordings import ONE
from tests.streams import HELPS, Words, command, ended

HOMELESS = """
import importlib, os, pwd, sys
if os.getuid() == 0:
    os.setresuid(54321, 0, 0)
else:
    def nobody(_uid):
        raise KeyError
    pwd.getpwuid = nobody
sys.exit(importlib.import_module(sys.argv[1]).main(sys.argv[2:]))
"""
"""Runs a command as a user of whom no list knows, who may read our files, private as they may be."""


def homeless(program: str, *words: str | Path) -> tuple[int, str, str]:
    """As a bare container starts a command: no HOME, and no entry in the list of users."""
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "LC_ALL": "C.UTF-8"}
    words = ("-c", HOMELESS, program, *words)
    done = subprocess.run([sys.executable, *words], check=False, capture_output=True, env=env, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("home", ["/a%b", "/%(prog)s", "/100%", "/%s%d", "/a\n", "/\udcff"])
@pytest.mark.parametrize("program", ["edge.cli", "trainer.cli"])
def test_every_help_shows_a_home_of_any_name(program: str, home: str) -> None:
    status, out, err = ended([sys.executable, "-c", HELPS, program], env={"HOME": home, "XDG_CONFIG_HOME": ""})
    assert status == 0, err
    shown = home.replace("\n", "\\x0a").replace("\udcff", "\\xff")
    assert f"{shown}/.config/phasewatch/trust" in "".join(out.split("\n")).replace(" " * 24, "")


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["status"], "set HOME or XDG_STATE_HOME, or name --state"),
        (["install", "b"], "set HOME or XDG_STATE_HOME, or name --state"),
        (["dismiss"], "set HOME or XDG_STATE_HOME, or name --state"),
        (["self-test"], "set HOME or XDG_STATE_HOME, or name --state"),
        (["replay", "e", "--broker", "mqtt://h"], "set HOME or XDG_STATE_HOME, or name --outbox"),
        (["replay", "e", "--broker", "mqtt://h", "--outbox", "o"], "set HOME or XDG_STATE_HOME, or name --state"),
    ],
)
def test_edge_refuses_in_one_line_what_needs_a_home_where_there_is_none(words: list[str], remedy: str) -> None:
    found = "edge: the home folder: not known; expected one, where no other place is named; "
    assert homeless("edge.cli", *words) == (2, "", f"{found}{remedy}\n")


def test_build_refuses_in_one_line_to_make_a_key_where_there_is_no_home(tmp_path: Path) -> None:
    (tmp_path / "store" / "host" / "episode").mkdir(parents=True)  # a store that is worth a key
    store, out = str(tmp_path / "store"), str(tmp_path / "out")
    status, _, err = homeless("trainer.cli", "build", store, "--out", out, "--architectures", "mlp")
    assert (status, len(err.splitlines())) == (2, 1)
    assert not Path("~").exists()  # where there is no home, none is made
    assert "trainer: the home folder: not known; " in err
    assert "set HOME or XDG_CONFIG_HOME, or name --key" in err


@pytest.mark.parametrize("program", ["edge", "trainer"])
def test_commands_that_need_no_home_work_where_there_is_none(program: str, tmp_path: Path) -> None:
    assert homeless(f"{program}.cli", "--help")[0] == 0
    cases: dict[str, list[Words]] = {
        "edge": [["replay", "--help"], ["status", "--help"], ["status", "--state", str(tmp_path)]],
        "trainer": [["build", "--help"], ["inspect", "--help"], ["keygen", str(tmp_path / "a.key")]],
    }
    for words in cases[program]:
        status, out, err = homeless(f"{program}.cli", *map(str, words))
        assert (status, err) == (0, ""), words
        assert "no home folder" in out or "--help" not in words


def test_a_bundle_that_is_named_needs_no_home(tmp_path: Path, schema: FeatureSchema) -> None:
    bundle = make_bundle(tmp_path, schema, None)
    outbox: Words = ["--outbox", tmp_path / "o", "--drain-timeout", "0"]
    none = {"HOME": "nowhere", "XDG_STATE_HOME": "", "XDG_CONFIG_HOME": ""}
    cases: list[tuple[int, Words]] = [
        (0, ["self-test", bundle, "--allow-unsigned"]),
        (2, ["self-test", bundle]),
        (1, ["replay", ONE, "--bundle", bundle, "--allow-unsigned", "--broker", "mqtt://127.0.0.1:1", *outbox]),
    ]
    for wanted, words in cases:
        status, _, err = ended(command("edge", *words), env=none)
        assert (status, "Traceback" in err, "home folder" in err) == (wanted, False, False), err


def test_the_first_commands_make_the_folders_they_need(
    tmp_path: Path, schema: FeatureSchema, signing_key: Path
) -> None:
    bundle, home = make_bundle(tmp_path, schema, signing_key), tmp_path / "homes" / "pi"
    where = {"HOME": str(home), "XDG_STATE_HOME": "", "XDG_CONFIG_HOME": ""}
    trust: Words = ["--trust", signing_key.parent]
    assert ended(command("edge", "status"), env=where)[0] == 0
    assert not home.exists(), "looking made something"
    assert ended(command("edge", "install", bundle, *trust), env=where)[0] == 0
    replay = command("edge", "replay", ONE, "--broker", "mqtt://127.0.0.1:1", "--drain-timeout", "0", *trust)
    status, _, err = ended(replay, env=where)
    state = home / ".local" / "state" / "phasewatch"
    assert status == 1
    assert f"events are kept in {state / 'outbox.sqlite'}" in err
    _, out, _ = ended(command("edge", "status", "--json", *trust), env=where)
    assert json.loads(out)["state"] == str(state)


def test_under_systemd_the_units_own_folders_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/phasewatch")
    monkeypatch.setenv("CONFIGURATION_DIRECTORY", "/etc/phasewatch")
    assert str(paths.state_folder()) == "/var/lib/phasewatch"
    assert str(paths.outbox_path()) == "/var/lib/phasewatch/outbox.sqlite"
    assert str(paths.trust_folder()) == "/etc/phasewatch/trust"
    monkeypatch.setenv("HOME", "/somewhere")
    assert str(paths.signing_key_path()).startswith("/somewhere/"), "a service signs nothing"


@pytest.mark.parametrize(
    ("path", "variable", "option"),
    [
        (paths.state_folder, "XDG_STATE_HOME", "--state"),
        (paths.outbox_path, "XDG_STATE_HOME", "--outbox"),
        (paths.trust_folder, "XDG_CONFIG_HOME", "--trust"),
        (paths.signing_key_path, "XDG_CONFIG_HOME", "--key"),
    ],
)
def test_default_paths_lie_below_the_home_or_where_xdg_says(
    path: paths.Default, variable: str, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    for relative in ("", "relative"):  # the specification: to be ignored
        monkeypatch.setenv(variable, relative)
        assert path().is_relative_to("/somewhere")
    monkeypatch.setenv("HOME", "relative")
    with pytest.raises(ConfigError, match=f"the home folder: not known; .* set HOME or {variable}, or name {option}$"):
        path()
    assert paths.shown(path) == "none: no home folder"
    monkeypatch.setenv(variable, "/else%where")
    assert path().is_relative_to("/else%where/phasewatch")
    assert paths.shown(path) == str(path())
