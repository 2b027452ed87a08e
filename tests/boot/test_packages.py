"""The packages in clean roots of both releases on both architectures: install, run, upgrade, remove, purge."""

from __future__ import annotations

import contextlib
import filecmp
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.arm64.userland import python_of
from tests.boot.clean import Clean, clean
from tests.boot.conftest import LATER, VERSION, Debs, build_debs
from tests.boot.roots import CLEAN, REPO, TAKE_MINUTES, Root, emulated, made
from tests.brokers import program
from tests.debian import SUITES, Suite

pytestmark = [pytest.mark.slow, pytest.mark.system]
ROOTS = {root.name: root for root in CLEAN}
HERE = ROOTS["bookworm-amd64"]


@contextlib.contextmanager
def root_of(root: Root, folder: Path, *packages: Path, room: str = "2G") -> Iterator[Clean]:
    """A clean one, with packages in its /packages."""
    with (
        emulated() if root.architecture == "arm64" else contextlib.nullcontext(),
        clean(made(root), folder / "root", room=room) as inside,
    ):
        (inside.path / "packages").mkdir()
        for package in packages:
            shutil.copy(package, inside.path / "packages")
        yield inside


def both(debs: Debs, root: Root) -> tuple[Path, Path]:
    """The agent's package and the dashboard's."""
    return (
        debs.of(debs.now, "phasewatch-edge", root.suite, root.architecture),
        debs.of(debs.now, "phasewatch-dashboard", root.suite, root.architecture),
    )


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.machine if name in TAKE_MINUTES else ()) for name in ROOTS]
)
def test_packages_install_run_and_go_without_a_trace(name: str, debs: Debs, tmp_path: Path) -> None:
    """With the network away, and nothing but Debian's Python: everything that is needed is within."""
    root = ROOTS[name]
    with root_of(root, tmp_path, *both(debs, root)) as inside:
        before = set(inside.sh("find / -xdev -path /proc -prune -o -path /packages -prune -o -print").splitlines())
        inside.sh("dpkg --install /packages/*.deb")
        assert f"edge {VERSION}, feature schema " in inside.sh("edge --version")
        assert "phasewatch phasewatch-guests" in inside.sh("id --name --groups phasewatch")
        assert inside.sh("stat --format '%U %a' /var/lib/phasewatch") == "phasewatch 750"
        python = "/usr/lib/phasewatch/bin/python3 -I -c"
        assert inside.sh(f"{python} 'import numpy, sys; print(numpy.__file__)'").startswith("/usr/lib/phasewatch/")
        runtime = "tflite_runtime" if root.suite == "bookworm" else "ai_edge_litert"
        inside.sh(f"{python} 'import {runtime}.interpreter, prometheus_client, edge.dashboard.run'")
        assert "edge check-config" in inside.sh("edge check-config --help")
        enabled = inside.sh("systemctl is-enabled phasewatch-edge phasewatch-dashboard")
        assert enabled.split() == ["enabled", "enabled"]
        asked = inside.sh("systemctl is-enabled phasewatch-update.timer phasewatch-update.path", status=None)
        assert asked.split() == ["disabled", "disabled"]
        if root.architecture == "amd64":  # systemd 252 and 257
            units = "/usr/lib/systemd/system/phasewatch-[deu]*[ehlrt]"
            assert len(inside.sh(f"ls {units} | grep -v exporter").split()) == 6
            assert inside.sh(f"ls {units} | grep -v exporter | xargs systemd-analyze verify --man=no") == ""
        inside.sh("touch /var/lib/phasewatch/outbox.sqlite; echo '# mine' >> /etc/phasewatch/edge.toml")
        inside.sh("mkdir -p /var/lib/phasewatch-dashboard; touch /var/lib/phasewatch-dashboard/dashboard.sqlite")
        inside.sh("dpkg --remove phasewatch-dashboard phasewatch-edge")
        assert "# mine" in inside.sh("cat /etc/phasewatch/edge.toml")
        inside.sh("test -e /var/lib/phasewatch-dashboard/dashboard.sqlite")
        inside.sh(
            "test -e /var/lib/phasewatch/outbox.sqlite && test ! -e /usr/lib/phasewatch && test ! -e /usr/bin/edge"
        )
        if root.architecture == "amd64":  # what was opted for survives a removal, and ends with a purge
            opted = "systemctl enable phasewatch-update.timer phasewatch-exporter@tap0"
            inside.sh(f"dpkg --install /packages/*.deb && {opted}")
            inside.sh("dpkg --remove phasewatch-dashboard phasewatch-edge && dpkg --install /packages/*.deb")
            assert inside.sh("systemctl is-enabled phasewatch-edge phasewatch-update.timer").split() == ["enabled"] * 2
        inside.sh("dpkg --purge phasewatch-dashboard phasewatch-edge")
        after = set(inside.sh("find / -xdev -path /proc -prune -o -path /packages -prune -o -print").splitlines())
        left = {
            path
            for path in after - before
            if not re.match(r"/(var/(log|cache|lib/dpkg|lib/systemd)|tmp|root|run)\b|/etc/.*-$", path)
        }
        assert left == set()


@pytest.mark.arm64
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_what_an_arm64_package_holds_runs_on_such_a_processor(suite: Suite, debs: Debs, tmp_path: Path) -> None:
    """Unpacked, on the emulated core of a Pi, with that release's Python and nothing else of its own."""
    for package in ("phasewatch-edge", "phasewatch-dashboard"):
        file = debs.of(debs.now, package, suite.name, "arm64")
        subprocess.run([program("dpkg-deb"), "--extract", file, tmp_path], check=True)
    (place,) = (tmp_path / "usr/lib/phasewatch/lib").glob("python3.*/site-packages")
    runtime = "tflite_runtime" if suite.name == "bookworm" else "ai_edge_litert"
    code = f"import edge.dashboard.run, numpy, prometheus_client, sys, {runtime}.interpreter; from edge.cli import main"
    code += "; print(numpy.__file__); sys.exit(main(['--version']))"
    python = python_of(REPO / "build" / "arm64", suite)
    done = subprocess.run(
        [python, "-S", "-c", code], env={"PYTHONPATH": str(place)}, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    where, version = done.stdout.splitlines()[:2]
    assert where.startswith(str(place))
    assert version.startswith(f"edge {VERSION}, feature schema ")


def test_a_bundle_that_comes_along_is_installed_once(debs: Debs, tmp_path: Path) -> None:
    package = debs.of(debs.site, "phasewatch-edge", HERE.suite, HERE.architecture)
    with root_of(HERE, tmp_path, package, debs.bundles[1]) as inside:
        said = inside.sh("dpkg --install /packages/*.deb")
        assert "gbt-realistic-000000000000 is the current bundle" in said
        assert inside.sh("find /var/lib/phasewatch ! -user phasewatch") == ""
        other = debs.bundles[1].name
        inside.sh(f"edge install /packages/{other}")
        inside.sh("dpkg --install /packages/*.deb")  # once more: what its user chose meanwhile stays
        state = json.loads(inside.sh("edge status --json"))
        assert (state["current"]["name"], state["previous"]["name"]) == (
            other.removesuffix(".bundle"),
            "gbt-realistic-000000000000",
        )


def test_an_upgrade_keeps_what_its_user_has_and_says_what_the_new_agent_would_not_take(
    debs: Debs, tmp_path: Path
) -> None:
    old = debs.of(debs.now, "phasewatch-edge", HERE.suite, HERE.architecture)
    new = debs.of(debs.later, "phasewatch-edge", HERE.suite, HERE.architecture)
    with root_of(HERE, tmp_path, old, new) as inside:
        inside.sh(f"dpkg --install /packages/{old.name}")
        inside.sh("echo nonsense >> /etc/phasewatch/edge.toml; echo kept > /var/lib/phasewatch/outbox.sqlite")
        line = int(inside.sh("wc --lines < /etc/phasewatch/edge.toml"))
        said = inside.sh(f"dpkg --install /packages/{new.name}")
        assert f"phasewatch-edge: edge: /etc/phasewatch/edge.toml:{line}: no TOML: " in said
        assert "what runs goes on as it is; mend that, and: systemctl restart phasewatch-edge" in said
        assert inside.sh("dpkg-query --show --showformat '${Version}' phasewatch-edge").startswith(LATER)
        assert "nonsense" in inside.sh("cat /etc/phasewatch/edge.toml")
        assert inside.sh("cat /var/lib/phasewatch/outbox.sqlite") == "kept"


def test_a_package_for_another_release_is_refused(debs: Debs, tmp_path: Path) -> None:
    package = debs.of(debs.now, "phasewatch-edge", "trixie", "amd64")
    with root_of(HERE, tmp_path, package) as inside:
        said = inside.sh("dpkg --install /packages/*.deb", status=1)
        assert "phasewatch-edge: Python 3.11; expected 3.13 of Debian 13; install the package for this release" in said
        assert not (inside.path / "usr" / "lib" / "phasewatch").exists()
        assert "Depends: python3 (>= 3.13~)" in inside.sh("apt-get install --yes /packages/*.deb", status=100)


def test_a_package_for_another_architecture_is_refused(debs: Debs, tmp_path: Path) -> None:
    package = debs.of(debs.now, "phasewatch-edge", HERE.suite, "arm64")
    with root_of(HERE, tmp_path, package) as inside:
        said = inside.sh("dpkg --install /packages/*.deb", status=1)
        assert "package architecture (arm64) does not match system (amd64)" in said


def test_a_disk_that_fills_up_leaves_no_half_and_the_next_try_succeeds(debs: Debs, tmp_path: Path) -> None:
    package = debs.of(debs.now, "phasewatch-edge", HERE.suite, HERE.architecture)
    with root_of(HERE, tmp_path, package, room="64M") as inside:
        said = inside.sh("dpkg --install /packages/*.deb", status=1)
        assert "No space left on device" in said
        assert "phasewatch" not in inside.sh("ls /usr/bin /usr/lib")
        subprocess.run([program("mount"), "-o", "remount,size=1G", tmp_path / "root" / "disk"], check=True)
        inside.sh("dpkg --install /packages/*.deb && edge --version")


def test_the_same_inputs_give_the_same_bytes(debs: Debs, tmp_path: Path) -> None:
    build_debs(tmp_path, "--suite", "bookworm", "--architecture", "arm64", "--compress", "gzip")
    made_again = sorted(path.name for path in tmp_path.glob("*.deb"))
    assert len(made_again) == 2
    assert filecmp.cmpfiles(tmp_path, debs.now, made_again, shallow=False) == (made_again, [], [])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == HERE.name else pytest.mark.machine) for name in ROOTS]
)
def test_lintian_finds_no_error(name: str, debs: Debs) -> None:
    packages = both(debs, ROOTS[name])
    done = subprocess.run(
        [program("lintian"), "--allow-root", "--fail-on", "error", *packages],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_manual_pages_and_completion_know_every_verb(debs: Debs, tmp_path: Path) -> None:
    package = debs.of(debs.now, "phasewatch-edge", HERE.suite, HERE.architecture)
    subprocess.run([program("dpkg-deb"), "--extract", package, tmp_path], check=True)
    from edge.cli import command_line

    verbs = set(re.findall(r"^    ([a-z-]+)(?: |$)", command_line().format_help(), re.MULTILINE))
    assert {"run", "install", "doctor"} <= verbs
    pages = {path.name.removesuffix(".1.gz") for path in (tmp_path / "usr/share/man/man1").iterdir()}
    assert pages == {"edge", *(f"edge-{verb}" for verb in verbs)}
    for page in (tmp_path / "usr/share/man/man1").iterdir():
        done = subprocess.run(
            [program("man"), "--warnings", "--local-file", page], capture_output=True, text=True, check=True
        )
        assert "example" in done.stdout.lower(), page
        assert "/root" not in done.stdout, page
        assert not done.stderr, done.stderr
    bash = (tmp_path / "usr/share/bash-completion/completions/edge").read_text()
    offered = subprocess.run(
        ["bash", "-c", f"{bash}\nCOMP_WORDS=(edge in); COMP_CWORD=1; _shtab_edge edge in edge; echo ${{COMPREPLY[@]}}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert offered.stdout.split() == ["install"]
