"""Files appear whole, and no more readable than their user lets new files be."""

from __future__ import annotations

import os
import re
import secrets
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from contracts import files
from contracts.errors import StorageError
from contracts.files import write_file

WRITES = """
import sys
from pathlib import Path
from contracts.files import write_file
write_file(Path(sys.argv[1]), b"new", *(int(mode, 8) for mode in sys.argv[2:]))
"""


def written(path: Path, umask: int, *mode: str) -> int:
    """The mode of a file that a process with this umask writes."""
    subprocess.run([sys.executable, "-c", WRITES, path, *mode], umask=umask, check=True)
    assert path.read_bytes() == b"new"
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o027, 0o640), (0o000, 0o644)])
def test_file_is_as_open_as_the_umask_lets_it(tmp_path: Path, umask: int, mode: int) -> None:
    assert written(tmp_path / "file", umask) == mode


@pytest.mark.parametrize("umask", [0o022, 0o000, 0o077])
def test_file_is_private_when_asked_for_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    assert written(tmp_path / "key", umask, "600") == 0o600


def test_file_takes_the_mode_of_now_when_it_replaces_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert written(path, 0o022) == 0o644
    assert written(path, 0o077) == 0o600


def test_file_under_way_is_never_more_open_than_it_will_be(tmp_path: Path) -> None:
    with files.writing(tmp_path / "key", 0o600) as file:
        (part,) = tmp_path.iterdir()
        assert part.name.startswith(".key.")
        assert part.name.endswith(".part")
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_file_under_way_takes_no_name_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even by a link, and who guessed the name gains nothing."""
    monkeypatch.setattr(secrets, "token_hex", lambda _size: "guessed")
    outside = tmp_path / "outside"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / ".file.guessed.part").symlink_to(outside)
    with pytest.raises(StorageError, match=r"file: cannot be written \(File exists\); expected a writable folder"):
        write_file(tmp_path / "in" / "file", b"new")
    assert not outside.exists()
    assert (tmp_path / "in" / ".file.guessed.part").is_symlink()


@pytest.mark.parametrize("name", [".", "folder"])
def test_file_in_place_of_a_folder_is_refused_in_one_line(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=rf"^{re.escape(name)}: cannot be written \(.*\); expected a writable"):
        write_file(Path(name), b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


MANY = """
import sys
from pathlib import Path
from contracts.files import write_file
for _ in range(50):
    write_file(Path(sys.argv[1]), sys.argv[2].encode() * 10_000)
"""


def test_writers_of_one_file_at_once_leave_one_of_them_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    writers = [subprocess.Popen([sys.executable, "-c", MANY, path, letter]) for letter in "ab"]
    assert [one.wait() for one in writers] == [0, 0]
    assert path.read_bytes() in (b"a" * 10_000, b"b" * 10_000)
    assert list(tmp_path.iterdir()) == [path]
