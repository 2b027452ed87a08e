"""`make release-check` refuses what is no release; here without the builds and installations that it makes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.release import NEEDED, ROOT, ReleaseError, require_changelog, require_whole


def test_versions_agree() -> None:
    """`make release-check` does the rest: it builds and installs."""
    require_changelog(ROOT)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("## Unreleased\n- x\n", "begins with 'Unreleased'; expected '0.2.0 - YYYY-MM-DD'"),
        ("## 0.1.0 - 2026-01-01\n- x\n", "expected '0.2.0 - "),
        ("## 0.2.0 - 2999-01-01\n- x\n", "2999-01-01 is in the future"),
        ("## 0.2.0 - 2026-01-01\n", "nothing is said of 0.2.0"),
    ],
)
def test_a_release_without_its_entry_in_the_changelog_is_refused(tmp_path: Path, head: str, words: str) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "0.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{head}")
    with pytest.raises(ReleaseError, match=re.escape(words)):
        require_changelog(tmp_path)


def archives(folder: Path, held: tuple[str, ...], *more: str) -> tuple[Path, Path]:
    sdist, wheel = folder / "x-1.tar.gz", folder / "x-1.whl"
    (folder / "empty").touch()
    with tarfile.open(sdist, "w:gz") as tar, zipfile.ZipFile(wheel, "w") as zipped:
        for name in held:
            tar.add(folder / "empty", f"x-1/{name}")
        for name in (*held, *more):
            zipped.writestr(name, "")
    return sdist, wheel


def test_archives_that_hold_all_that_is_needed_are_whole(tmp_path: Path) -> None:
    require_whole(*archives(tmp_path, NEEDED))
    assert all((ROOT / name).exists() for name in NEEDED)


def test_archives_that_lack_a_file_or_hold_the_tests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=rf"x-1\.tar\.gz has no {NEEDED[0]}"):
        require_whole(*archives(tmp_path, NEEDED[1:]))
    with pytest.raises(ReleaseError, match=r"x-1\.whl holds tests"):
        require_whole(*archives(tmp_path, NEEDED, "tests/conftest.py"))


@pytest.mark.slow
def test_a_clone_full_of_roots_and_links_installs_as_quickly(tmp_path: Path) -> None:
    """Below build/ are whole systems whose links lead in circles; setuptools would walk them for ever."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("contracts", "edge", "trainer"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "build" / "root").mkdir(parents=True)
    for name in ("a", "b"):
        (tmp_path / "build" / "root" / name).symlink_to("..")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-w", str(tmp_path / "w"), str(tmp_path)], check=True, capture_output=True, timeout=120)
    assert list((tmp_path / "w").glob("*.whl"))
