"""What lies in firmware-config for a Pi: units that systemd has nothing to say against, scripts, and install.sh."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.boot.roots import REPO
from tests.brokers import program

pytestmark = [pytest.mark.slow, pytest.mark.system]
FIRMWARE = REPO / "firmware-config"
UNITS = FIRMWARE / "systemd"
EXPOSURE = {"phasewatch-edge": 2.2, "phasewatch-dashboard": 1.5, "phasewatch-exporter@": 2.2, "phasewatch-update": 1.5}
"""At most, out of 10."""


def exposure(unit: Path) -> float:
    """As `systemd-analyze security` judges a file. What it has to say against the file fails the test."""
    done = subprocess.run(
        [program("systemd-analyze"), "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert not done.stderr, done.stderr
    (found,) = re.findall(r"Overall exposure level for .*: ([0-9.]+) ", done.stdout)
    return float(found)


@pytest.mark.parametrize("name", EXPOSURE)
def test_units_are_hardened(name: str) -> None:
    assert exposure(UNITS / f"{name}.service") <= EXPOSURE[name]


def test_the_page_says_how_exposed_each_unit_is(tmp_path: Path) -> None:
    """As Debian 12's judge has it; other releases differ by a tenth or two."""
    page = (REPO / "docs" / "pi.md").read_text()
    said = re.findall(r"the agent ([0-9.]+) of 10, the dashboard ([0-9.]+), the exporter ([0-9.]+) ", page)
    both = re.findall(r"`examples/systemd/io.conf` grants them \(([0-9.]+)\)", page)
    drop_in = tmp_path / "phasewatch-edge.service.d"
    drop_in.mkdir()
    shutil.copy(UNITS / "phasewatch-edge.service", tmp_path)
    shutil.copy(UNITS / "io.conf", drop_in)
    found = [exposure(UNITS / f"{name}.service") for name in list(EXPOSURE)[:3]]
    found.append(exposure(tmp_path / "phasewatch-edge.service"))
    assert [float(one) for one in (*said[0], *both)] == pytest.approx(found, abs=0.3)
    assert found[-1] <= 2.2


def test_every_line_that_is_not_tighter_says_why() -> None:
    """Of what the judge marks in the agent's unit, each has its reason in a comment of the unit."""
    text = (UNITS / "phasewatch-edge.service").read_text()
    comments = " ".join(line for line in text.splitlines() if line.startswith("#"))
    done = subprocess.run(
        [program("systemd-analyze"), "security", "--offline=true", "--no-pager", UNITS / "phasewatch-edge.service"],
        capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    marked = set(re.findall(r"^✗ (\w+)=", done.stdout, re.MULTILINE))
    assert marked
    assert marked <= {*re.findall(r"\w+", comments), "SupplementaryGroups", "DeviceAllow"}
    assert "sockets of guests" in comments, "why SupplementaryGroups"


def test_scripts_are_clean() -> None:
    scripts = [
        path
        for path in (*FIRMWARE.rglob("*"), *(REPO / "tests").rglob("*.sh"), REPO / ".ci" / "run")
        if path.is_file() and re.match(rb"#!(/bin/sh|/usr/bin/env bash|/bin/busybox sh)", path.read_bytes()[:40])
    ]
    assert len(scripts) >= 12
    done = subprocess.run([program("shellcheck"), *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own."""
    folder = tmp_path_factory.mktemp("wheel")
    sys.path.insert(0, str(FIRMWARE / "deb"))
    try:
        from build import program_wheel  # the same that goes into the package
    finally:
        sys.path.pop(0)
    return program_wheel(folder)


def install(*words: str | Path, root: Path) -> tuple[int, str]:
    """Run install.sh into a folder: its status, and what it said, or why it refused."""
    done = subprocess.run(
        ["sh", str(FIRMWARE / "install.sh"), *map(str, words)],
        capture_output=True, text=True, check=False, env={**os.environ, "DESTDIR": str(root)},
    )  # fmt: skip
    return done.returncode, done.stderr if done.returncode else done.stdout


def test_install_sh_installs_upgrades_and_removes(wheel: Path, tmp_path: Path) -> None:
    assert install(wheel, root=tmp_path) == (
        0, "installed; write a guest into /etc/phasewatch/edge.toml, and: systemctl reload phasewatch-edge\n",
    )  # fmt: skip
    edge = [str(tmp_path / "opt/phasewatch/bin/python3"), "-I", "-m", "edge.cli"]
    config = tmp_path / "etc/phasewatch/edge.toml"
    checked = subprocess.run(
        [*edge, "check-config", "--wait", str(config)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert "ExecStart=/usr/local/bin/edge run" in (tmp_path / "etc/systemd/system/phasewatch-edge.service").read_text()
    assert (tmp_path / "usr/local/bin/edge").read_text().startswith("#!/opt/phasewatch/bin/python3 -I\n")
    before = sorted(path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts)

    config.write_text(config.read_text() + "# mine\n")
    assert install(wheel, root=tmp_path) == (0, "installed; the configuration is as it was\n")
    assert sorted(path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts) == before
    assert config.read_text().endswith("# mine\n")

    config.write_text(config.read_text() + "nonsense = 1\n")
    status, said = install(wheel, root=tmp_path)
    assert status == 2
    assert re.search(r"edge.toml:\d+: unknown key `nonsense`; .* \(what runs goes on as it is\)$", said)
    assert subprocess.run([*edge, "--version"], capture_output=True, check=False).returncode == 0

    assert install("--remove", root=tmp_path)[0] == 0
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {f"etc/phasewatch/{name}" for name in ("edge.toml", "pmacctd.conf", "update.env")}
    assert install("--purge", root=tmp_path)[0] == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "0 arguments; expected one; say install.sh WHEEL, --remove or --purge"),
        (["--nonsense"], "option --nonsense; expected --remove or --purge"),
        (["no.whl"], "no.whl: no such file; expected a wheel of phasewatch"),
    ],
)
def test_install_sh_refuses_in_one_line_and_writes_nothing(words: list[str], message: str, tmp_path: Path) -> None:
    status, said = install(*words, root=tmp_path)
    assert status == 2
    assert said.startswith(f"install.sh: {message}")
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_install_sh_leaves_a_machine_with_the_package_alone(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "usr/lib/phasewatch").mkdir(parents=True)
    status, said = install(wheel, root=tmp_path)
    assert status == 2
    assert "the Debian package is installed; expected one of the two; apt-get remove phasewatch-edge" in said
