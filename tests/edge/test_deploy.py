"""Install, roll back, promote, dismiss: what runs on this machine, and that nothing refused ever touches it."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from pathlib import Path

import msgspec
import pytest

from contracts.bundle.archive import read_bundle, write_bundle
from contracts.bundle.keys import generate_key, load_signing_key, load_trusted_keys
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
from contracts.features.schema import FeatureSchema
from contracts.files import locked
from edge.deploy.deployment import changing, read_deployment
from edge.deploy.site import Site
from edge.deploy.verbs import dismiss, install, promote, rollback
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


def test_installing_the_previous_bundle_leaves_another_to_return_to(site: Site, bundles: list[Path]) -> None:
    for which in (0, 1, 0):
        state = put(site, bundles[which])
    assert names(state) == ["0", "1", None]
    put(site, bundles[1], shadow=True)
    assert names(promote(site)[1]) == ["1", "0", None]


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
    assert taken.wait(60)
    put(site, bundles[1])
    assert done == ["other"]
    thread.join()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"format":2}', b'{"format":1,"current":{"file":"../x"}}'])
def test_a_spoiled_state_is_said_and_not_guessed(site: Site, data: bytes) -> None:
    site.folder.mkdir()
    (site.folder / "deployment.json").write_bytes(data)
    with pytest.raises(TornError, match=r"deployment\.json: .*; expected what `edge install` wrote; remove it"):
        read_deployment(site.folder)
