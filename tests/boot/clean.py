"""A clean root to install into: an overlay over one of the made roots, entered by chroot."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.boot.container import ENVIRONMENT
from tests.brokers import program


class Clean:
    """One. What is done in it stays until the block of `clean` ends."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def leave(self) -> None:
        """Take this machine's /proc and /dev away: what is left are files."""
        for name in ("proc", "dev"):
            subprocess.run([program("umount"), "--lazy", self.path / name], check=True)

    def sh(self, script: str, *, status: int | None = 0, seconds: float = 300) -> str:
        """Run a script inside; both streams together. status: that it must end with; None for any."""
        done = subprocess.run(
            [program("chroot"), self.path, "/bin/sh", "-c", script],
            env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, check=False, timeout=seconds,
        )  # fmt: skip
        assert status in (None, done.returncode), f"{script}: {done.returncode}\n{done.stdout}"
        return done.stdout.strip()


@contextlib.contextmanager
def clean(root: Path, folder: Path, *, room: str = "2G") -> Iterator[Clean]:
    """room: of the file system that takes what is written."""
    disk, merged = folder / "disk", folder / "merged"
    for one in (disk, merged):
        one.mkdir(parents=True)
    with contextlib.ExitStack() as stack:

        def mount(*arguments: str | Path) -> None:
            subprocess.run([program("mount"), *arguments], check=True)
            stack.callback(
                subprocess.run, [program("umount"), "--lazy", arguments[-1]], check=False, capture_output=True
            )

        mount("-t", "tmpfs", "-o", f"size={room}", "none", disk)
        for name in ("upper", "work"):
            (disk / name).mkdir()
        mount("-t", "overlay", "-o", f"lowerdir={root},upperdir={disk}/upper,workdir={disk}/work", "none", merged)
        mount("-t", "proc", "proc", merged / "proc")
        mount("--rbind", "--make-rslave", "/dev", merged / "dev")
        yield Clean(merged)
