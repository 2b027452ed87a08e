"""Install, roll back, promote, dismiss: what runs on this machine, and that nothing refused ever touches it."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from contracts.bundle import read_bundle, write_bundle
from contracts.errors import (
    BundleError,
    BusyError,
    ConfigError,
    RevokedKeyError,
    SchemaMismatchError,
    StorageError,
    TornError,
    UnsignedError,
    UntrustedKeyError,
)
from contracts.features import FeatureSchema
from contracts.keys import generate_key, load_signing_key, load_trusted_keys
from contracts.telemetry.storage import locked
from edge.cli import main
from edge.deploy.deployment import changing, read_deployment
from edge.deploy.verbs import Site, dismiss, install, promote, rollback
from tests.bundles import make_bundle
from tests.edge.sites import files, names, put


def test_install_makes_a_bundle_current_and_keeps_the_one_before(site: Site, bundles: list[Path]) -> None:
    assert names(put(site, bundles[0])) == ["0", None, None]
    state = put(site, bundles[1])
    assert names(state) == ["1", "0", None]
    assert read_deployment(site.folder) == state
    assert files(site) == state.files
    assert state.current is not None
    assert (site.folder / "bundles" / state.current.file).read_bytes() == bundles[1].read_bytes()


def test_install_returns_to_a_proven_bundle_rather_than_to_one_that_never_ran(site: Site, bundles: list[Path]) -> None:
    from edge.deploy.trial import WINDOWS, Trial, begin

    put(site, bundles[0])
    _, installed = begin(site)
    trial = Trial(site, installed)
    for _ in range(WINDOWS):
        trial.window(late=False)
    put(site, bundles[1])
    state = put(site, bundles[2])
    assert names(state) == ["2", "0", None]
    assert files(site) == state.files


def test_rollback_swaps_and_undoes_itself(site: Site, bundles: list[Path]) -> None:
    put(site, bundles[0])
    put(site, bundles[1])
    assert names(rollback(site)[1]) == ["0", "1", None]
    assert names(rollback(site)[1]) == ["1", "0", None]


def test_rollback_refuses_where_there_is_nothing_to_return_to(site: Site, bundles: list[Path]) -> None:
    with pytest.raises(ConfigError, match="no previous bundle; expected one to return to; install one"):
        rollback(site)
    put(site, bundles[0])
    with pytest.raises(ConfigError, match="no previous bundle"):
        rollback(site)


def test_rollback_refuses_a_previous_bundle_that_was_spoiled_and_stays(site: Site, bundles: list[Path]) -> None:
    put(site, bundles[0])
    state = put(site, bundles[1])
    assert state.previous is not None
    path = site.folder / "bundles" / state.previous.file
    path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(BundleError, match="expected exactly the archive that was packed"):
        rollback(site)
    assert read_deployment(site.folder) == state


def test_a_shadow_is_promoted_or_dismissed(site: Site, bundles: list[Path]) -> None:
    put(site, bundles[0])
    assert names(put(site, bundles[1], shadow=True)) == ["0", None, "1"]
    assert names(promote(site)[1]) == ["1", "0", None]
    assert names(put(site, bundles[2], shadow=True)) == ["1", "0", "2"]
    assert names(dismiss(site.folder)) == ["1", "0", None]
    assert len(files(site)) == 2


def test_a_shadow_that_is_installed_outright_rides_along_no_more(site: Site, bundles: list[Path]) -> None:
    put(site, bundles[0])
    put(site, bundles[1], shadow=True)
    assert names(put(site, bundles[1])) == ["1", "0", None]


def test_shadows_of_nothing_or_of_themselves_are_refused(site: Site, bundles: list[Path]) -> None:
    with pytest.raises(ConfigError, match="no bundle to shadow; expected a current one; install one without --shadow"):
        put(site, bundles[0], shadow=True)
    put(site, bundles[0])
    with pytest.raises(ConfigError, match="is the current bundle; expected another one; a bundle cannot shadow itself"):
        put(site, bundles[0], shadow=True)
    for verb in (promote, lambda where: dismiss(where.folder)):
        with pytest.raises(ConfigError, match="no shadow; expected one"):
            verb(site)


def test_a_bundle_whose_golden_vectors_do_not_come_out_here_is_refused(
    site: Site, bundles: list[Path], schema: FeatureSchema, signing_key: Path
) -> None:
    before = put(site, bundles[0])
    off = make_bundle(bundles[0].parent, schema, signing_key, 3, golden_off=0.01)
    with pytest.raises(BundleError, match=r"gbt-realistic-0+3 in treelite-native: golden vectors come out 0\.01 off"):
        put(site, off)
    assert read_deployment(site.folder) == before
    assert files(site) == before.files


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


def test_a_bundle_file_that_was_swapped_for_another_does_not_run(site: Site, bundles: list[Path]) -> None:
    state = put(site, bundles[0])
    assert state.current is not None
    (site.folder / "bundles" / state.current.file).write_bytes(bundles[1].read_bytes())
    with pytest.raises(BundleError, match=r"bundle gbt-realistic-0+1; expected gbt-realistic-0+0; install that one"):
        site.active(state.current)


def test_the_same_bundle_with_another_signature_does_not_touch_the_one_that_runs(
    site: Site, bundles: list[Path], tmp_path: Path, schema: FeatureSchema
) -> None:
    state = put(site, bundles[0])
    unsigned = make_bundle(tmp_path, schema, None, 0)
    with pytest.raises(ConfigError, match="a bundle cannot shadow itself"):
        install(site, unsigned, allow_unsigned=True, shadow=True)
    assert state.current is not None
    assert site.active(state.current).ref.key == "test"
    assert read_deployment(site.folder) == state


def test_an_installed_bundle_whose_key_is_revoked_runs_no_more(
    site: Site, bundles: list[Path], tmp_path: Path, signing_key: Path, schema: FeatureSchema
) -> None:
    trust = tmp_path / "trust"
    trust.mkdir()
    shutil.copy(signing_key.with_suffix(".pub"), trust / "alice.pub")
    put(Site(folder=site.folder, schema=schema, trust_folder=trust), bundles[0])
    (trust / "revoked").mkdir()
    (trust / "alice.pub").rename(trust / "revoked" / "alice.pub")
    after = Site(folder=site.folder, schema=schema, trust_folder=trust)
    installed = read_deployment(site.folder).current
    assert installed is not None
    with pytest.raises(RevokedKeyError, match=r"signed by alice, key \w{16}, which is revoked; .* with another key"):
        after.active(installed)
    # not even by somebody who would run an unsigned one
    with pytest.raises(RevokedKeyError):
        install(after, bundles[1], allow_unsigned=True, shadow=False)


def test_a_key_that_is_trusted_and_revoked_is_revoked(tmp_path: Path, bundles: list[Path], signing_key: Path) -> None:
    trust = tmp_path / "trust"
    (trust / "revoked").mkdir(parents=True)
    for name in ("alice.pub", "revoked/old.pub"):
        shutil.copy(signing_key.with_suffix(".pub"), trust / name)
    with pytest.raises(RevokedKeyError, match="signed by old, key"):
        read_bundle(bundles[0], schema=None, trust=load_trusted_keys(trust))


def test_bundles_of_strangers_of_nobody_and_of_another_schema_are_refused(
    site: Site, bundles: list[Path], tmp_path: Path, schema: FeatureSchema, signing_key: Path
) -> None:
    before = put(site, bundles[0])
    other = tmp_path / "other" / "other.key"
    generate_key(other)
    stranger = make_bundle(other.parent, schema, other, 1)
    with pytest.raises(UntrustedKeyError, match="expected a key of the trust folder; put the maker's .pub file there"):
        put(site, stranger)
    unsigned = make_bundle(tmp_path, schema, None, 1)
    with pytest.raises(UnsignedError, match="not signed"):
        put(site, unsigned)
    read = read_bundle(bundles[1], schema=schema, trust=site.trust)
    stale = msgspec.structs.replace(read.manifest, schema_hash="ab" * 32)
    write_bundle(tmp_path / "stale.bundle", stale, read.members, load_signing_key(signing_key))
    with pytest.raises(SchemaMismatchError, match=r"feature schema abababababab…; expected \w+…, .* rebuild it"):
        put(site, tmp_path / "stale.bundle")
    assert read_deployment(site.folder) == before


def test_an_unsigned_bundle_stays_allowed_where_it_was_installed_so(
    site: Site, tmp_path: Path, schema: FeatureSchema
) -> None:
    unsigned = make_bundle(tmp_path, schema, None, 1)
    active, state = install(site, unsigned, allow_unsigned=True, shadow=False)
    assert active.ref.key is None
    assert state.current is not None
    assert site.active(state.current).ref.key is None


def test_a_full_disk_is_refused_and_leaves_what_was_installed(
    site: Site, bundles: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = put(site, bundles[0])

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"cannot be written \(No space left on device\); .* free some space"):
        put(site, bundles[1])
    monkeypatch.undo()
    assert read_deployment(site.folder) == before
    assert files(site) == before.files
    assert names(put(site, bundles[1])) == ["1", "0", None]


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


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("CRASH", "its self-test died of SIGABRT"),
        ("CRASH_ON_LOAD", "its self-test died of SIGABRT"),
        ("HANG", "its self-test hangs for 1 s"),
    ],
)
def test_a_library_that_crashes_or_hangs_is_refused_by_the_command_and_what_ran_stays(
    site: Site, bundles: list[Path], signing_key: Path, fault: str, message: str
) -> None:
    before = put(site, bundles[0])
    script = "import sys; from edge.deploy import apart; apart.HANGS_S = 1; from edge.cli import main; sys.exit(main())"
    where = ["--state", str(site.folder), "--trust", str(signing_key.parent)]
    done = subprocess.run(
        [sys.executable, "-c", script, "install", str(bundles[1]), *where],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, f"PW1_{fault}": "1"},
    )
    assert done.returncode == 2
    assert f"edge: bundle gbt-realistic-000000000001: {message}; expected its golden vectors to come out" in done.stderr
    assert read_deployment(site.folder) == before
    assert files(site) == before.files


def test_install_refuses_while_another_installs(site: Site, bundles: list[Path]) -> None:
    site.folder.mkdir()
    with locked(site.folder / ".verb.lock"), pytest.raises(BusyError, match="another process works here"):
        put(site, bundles[0])


def test_a_change_waits_for_another_that_is_short(site: Site, bundles: list[Path]) -> None:
    put(site, bundles[0])
    taken, done = threading.Event(), []

    def other() -> None:
        with changing(site.folder):
            taken.set()
            time.sleep(0.2)
            done.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    assert taken.wait(5)
    put(site, bundles[1])
    assert done == ["other"]
    thread.join()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"format":2}', b'{"format":1,"current":{"file":"../x"}}'])
def test_a_spoiled_state_is_said_and_not_guessed(site: Site, data: bytes) -> None:
    site.folder.mkdir()
    (site.folder / "deployment.json").write_bytes(data)
    with pytest.raises(TornError, match=r"deployment\.json: .*; expected what `edge install` wrote; remove it"):
        read_deployment(site.folder)


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
