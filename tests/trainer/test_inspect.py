"""`trainer inspect` shows a bundle that is whole, says who vouches for it, and refuses one that was changed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.bundle.keys import generate_key
from tests.conftest import Build

pytestmark = pytest.mark.slow


def inspect(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainer.cli", "inspect", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_inspect_shows_a_person_what_a_bundle_is(built: Build) -> None:
    done = inspect(built.bundle("mlp-realistic"), "--trust", built.key.parent)
    assert done.returncode == 0, done.stderr
    for words in (
        "signed by      test\n",
        "model          mlp, realistic: 36 channels, summary",
        "classes        clean, armed, infecting, infected_running, dormant",
        "artifact       model.tflite, ",
        "on 124 windows of 3 episodes",
        "held out       arm-1 (held_out_host)",
        "elapsed time   alone reaches ",
        "never tested   low-and-slow, scan-and-dial",
        "made with      keras ",
        "form           ",
        "golden vectors within 0.",
        "made by        trainer build STORE --out DIR --architectures gbt,",
        "where it was proven; code ",
        "7 libraries (sbom.cdx.json, CycloneDX)",
    ):
        assert words in done.stdout, words


def test_inspect_shows_a_program_the_same(built: Build) -> None:
    done = inspect(built.bundle("gbt-oracle"), "--trust", built.key.parent, "--json")
    found = json.loads(done.stdout)
    index = json.loads((built.out / "index.json").read_text())
    (entry,) = [e for e in index["bundles"] if (e["architecture"], e["threat_model"]) == ("gbt", "oracle")]
    assert found["key"] == "test"
    assert found["scorecard"]["macro_f1"] == entry["macro_f1"]
    assert found["manifest"]["build_id"] in entry["bundle"]
    assert found["provenance"]["split"] == found["manifest"]["split_digest"]
    assert found["materials"]["bomFormat"] == "CycloneDX"


def test_inspect_says_that_nobody_trusted_has_signed(built: Build, tmp_path: Path) -> None:
    generate_key(tmp_path / "stranger.key")
    done = inspect(built.bundle("cnn-oracle"), "--trust", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "signed by      NOBODY that is trusted here\n" in done.stdout


def test_inspect_shows_a_bundle_whose_key_is_revoked_and_says_so(built: Build, tmp_path: Path) -> None:
    (tmp_path / "revoked").mkdir()
    (tmp_path / "revoked" / "alice.pub").write_bytes(built.key.with_suffix(".pub").read_bytes())
    done = inspect(built.bundle("cnn-oracle"), "--trust", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "signed by      REVOKED: signed by alice, key " in done.stdout


def test_inspect_refuses_what_was_changed_or_is_not_there(built: Build, tmp_path: Path) -> None:
    data = bytearray(built.bundle("cnn-oracle").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "changed.bundle").write_bytes(data)
    for path, words in ((tmp_path / "changed.bundle", "changed.bundle"), (tmp_path / "none", "no such file")):
        done = inspect(path, "--trust", built.key.parent)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert words in done.stderr
        assert not done.stdout
