"""`edge install` and its like as commands: what they say, and that no library and no disk hurts what runs."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.features.schema import FeatureSchema
from edge.cli import main
from edge.deploy.deployment import read_deployment
from edge.deploy.site import Site
from tests.bundles import make_bundle
from tests.edge.sites import files, put


def test_a_library_that_wants_other_windows_is_refused_in_one_line(
    site: Site, bundles: list[Path], schema: FeatureSchema, signing_key: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = put(site, bundles[0])
    wide = make_bundle(bundles[0].parent, schema, signing_key, 3, wider=1)
    assert main(["install", str(wide), "--state", str(site.folder), "--trust", str(signing_key.parent)]) == 2
    said = capfd.readouterr().err
    assert "bundle gbt-realistic-000000000003: fails its self-test (ValueError: " in said
    assert "Traceback" not in said
    assert read_deployment(site.folder) == before


@pytest.mark.system
def test_a_disk_that_is_really_full_leaves_what_was_installed(
    bundles: list[Path], tmp_path: Path, signing_key: Path
) -> None:
    """In a mount namespace of its own, on a file system that holds one bundle and a half."""
    disk = tmp_path / "disk"
    disk.mkdir()
    edge = [sys.executable, "-m", "edge.cli"]
    where = ["--state", str(disk / "state"), "--trust", str(signing_key.parent)]
    room = (bundles[0].stat().st_size * 3 // 2 + 16_384) // 4096 * 4096
    steps = [
        ["mount", "-t", "tmpfs", "-o", f"size={room}", "none", str(disk)],
        [*edge, "install", str(bundles[0]), *where],
        [*edge, "install", str(bundles[1]), *where],
        [*edge, "status", *where],
        ["ls", "-A", str(disk / "state" / "bundles")],
    ]
    script = "\n".join(f"{shlex.join(step)}; echo status $?" for step in steps)
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False)
    found = done.stdout.splitlines()
    assert [line for line in found if line.startswith("status")] == [f"status {n}" for n in (0, 0, 1, 0, 0)], done
    assert "cannot be written (No space left on device); expected a writable folder with space left" in done.stderr
    assert found[3].startswith("current   gbt-realistic-000000000000  through treelite-native")
    assert [line for line in found if line.endswith(".bundle")] == [found[-2]]
    assert found[-2].startswith("gbt-realistic-000000000000")


FAULTS = pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("CRASH", "its self-test died of SIGABRT"),
        ("CRASH_ON_LOAD", "its self-test died of SIGABRT"),
        ("EXIT", "its self-test ended its process with status 0"),
        ("HANG", "its self-test hangs for 1 s"),
    ],
)


def faulty(site: Site, which: int, fault: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`edge` as a process of its own, on a machine where one library misbehaves."""
    script = (
        "import sys; from edge.deploy import first_try; first_try.OPENING_HANGS_S = 1; "
        "from edge.cli import main; sys.exit(main())"
    )
    where = ["--state", str(site.folder), "--trust", str(site.trust_folder)]
    return subprocess.run(
        [sys.executable, "-c", script, *arguments, *where],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, f"PW{which}_{fault}": "1"},
    )


@FAULTS
def test_a_library_that_crashes_or_hangs_is_refused_by_the_command_and_what_ran_stays(
    site: Site, bundles: list[Path], fault: str, message: str
) -> None:
    before = put(site, bundles[0])
    done = faulty(site, 1, fault, "install", str(bundles[1]))
    assert done.returncode == 2
    assert f"edge: bundle gbt-realistic-000000000001: {message}; expected its golden vectors to come out" in done.stderr
    assert read_deployment(site.folder) == before
    assert files(site) == before.files


@FAULTS
@pytest.mark.parametrize("installed", [False, True])
def test_a_library_that_crashes_or_hangs_fails_its_self_test_in_one_line(
    site: Site, bundles: list[Path], fault: str, message: str, installed: bool
) -> None:
    put(site, bundles[1])
    done = faulty(site, 1, fault, "self-test", *([] if installed else [str(bundles[1])]))
    where = "bundle gbt-realistic-000000000001" if installed else bundles[1]
    assert done.stderr == f"edge: {where}: {message}; expected its golden vectors to come out; build it again\n"
    assert (done.returncode, done.stdout) == (2, "")


@FAULTS
@pytest.mark.parametrize(("role", "which"), [("current", 1), ("previous", 0), ("shadow", 2)])
def test_a_library_that_crashes_or_hangs_cannot_run_says_the_status_and_shows_the_others(
    site: Site, bundles: list[Path], fault: str, message: str, role: str, which: int
) -> None:
    put(site, bundles[0])
    put(site, bundles[1])
    before = put(site, bundles[2], shadow=True)
    done = faulty(site, which, fault, "status")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    name = f"gbt-realistic-{which:012x}"
    assert lines.pop(role).split(maxsplit=1)[1] == (
        f"{name}  CANNOT RUN: bundle {name}: {message}; expected its golden vectors to come out; build it again"
    )
    assert len(lines) == 2
    assert all("through treelite-native, signed by test" in line for line in lines.values())
    assert (done.returncode, done.stderr) == (1, "")
    assert read_deployment(site.folder) == before


def test_the_status_for_programs_says_which_library_crashes(site: Site, bundles: list[Path]) -> None:
    put(site, bundles[0])
    put(site, bundles[1])
    done = faulty(site, 0, "CRASH", "status", "--json")
    found = json.loads(done.stdout)
    assert found["current"]["fault"] is None
    assert found["previous"]["runtime"] is None
    assert "its self-test died of SIGABRT" in found["previous"]["fault"]
    assert done.returncode == 1


def test_the_verbs_say_what_they_did(
    site: Site, bundles: list[Path], signing_key: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    where = ["--state", str(site.folder), "--trust", str(signing_key.parent)]

    def said(*arguments: str, status: int = 0) -> str:
        assert main([*arguments, *where]) == status
        captured = capfd.readouterr()
        return captured.out + captured.err

    assert "no bundle is installed; expected one; name a file, or install one first" in said("self-test", status=2)
    assert "is the current bundle, through treelite-native\n" in said("install", str(bundles[0]))
    assert "current bundle, through treelite-native; before: gbt-realistic-000000000000" in said(
        "install", str(bundles[1])
    )
    assert "rides along through treelite-native" in said("install", str(bundles[2]), "--shadow")
    lines = said("status").splitlines()
    assert lines[0].split(maxsplit=2) == [
        "current",
        "gbt-realistic-000000000001",
        "through treelite-native, signed by test, on trial, 0 starts",
    ]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["previous", "gbt-realistic-000000000000"],
        ["shadow", "gbt-realistic-000000000002"],
    ]
    assert "golden vectors come out within 1e-05 in treelite-native" in said("self-test")
    assert "gbt-realistic-000000000002: golden vectors" in said("self-test", str(bundles[2]))
    assert "gbt-realistic-000000000000 is the current bundle" in said("rollback")
    assert "gbt-realistic-000000000002 is the current bundle" in said("promote")
    assert "no shadow; expected one" in said("dismiss", status=2)
    found = json.loads(said("status", "--json"))
    assert found["current"]["name"] == "gbt-realistic-000000000002"
    assert found["current"]["fault"] is None
    (site.folder / "bundles" / "x").write_bytes(b"")
    for path in (site.folder / "bundles").glob("gbt-realistic-000000000002*"):
        path.write_bytes(b"spoiled")
    assert "CANNOT RUN: " in said("status", status=1)
