"""A booted Debian: systemd-nspawn in mount and cgroup namespaces of its own, over a root that stays as it is."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tests.brokers import program
from tests.live.lab import until

_START = """
set -e
mount -t tmpfs none /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/merged"
exec systemd-nspawn --boot --directory="$2/merged" --register=no --keep-unit --console=pipe --link-journal=no \\
    --private-network --capability=all --bind=/dev/net/tun --bind="$2/shared:/shared" --machine="$3"
"""
"""No controller is needed to boot; CPU and memory are limited by whole machines alone (`machine.py`)."""

_NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root",
    "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0", "DEBIAN_FRONTEND": "noninteractive",
}  # fmt: skip


class Container:
    """One boot. What it writes is in `folder`, and the next boot over the same folder finds it."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._folder, self._cursor = folder, ""
        for name in ("upper", "work", "merged", "shared"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.shared = folder / "shared"
        self.log: IO[bytes] = (folder / "console.log").open("ab")
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--cgroup", "sh", "-c", _START, "sh", root, folder, f"pw{os.getpid()}"],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        self._init = until(self._leader, 60, "systemd of the container")
        until(lambda: self.sh("systemctl is-system-running", check=False) in ("running", "degraded"), 120, "boot")

    def _leader(self) -> int | None:
        """Its process 1, as this machine counts it."""
        assert self._process.poll() is None, (self._folder / "console.log").read_text()
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for child in children:
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    return int(child)
        return None

    def sh(self, script: str, *, check: bool = True, seconds: float = 120) -> str:
        """Run a script inside, as root; what it said, both streams together."""
        done = subprocess.run(
            [program("nsenter"), f"--target={self._init}", *_NAMESPACES, "--", "/bin/sh", "-c", script],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=seconds, cwd="/",
        )  # fmt: skip
        assert not check or done.returncode == 0, (
            f"{script}: {done.returncode}\n{done.stdout}\n{self.journal()[-4000:]}"
        )
        return done.stdout.strip()

    def journal(self, unit: str = "phasewatch-edge") -> str:
        """What a unit said, and what systemd said of it, since `forget`."""
        since = f"--after-cursor={shlex.quote(self._cursor)}" if self._cursor else ""
        return self.sh(f"journalctl --no-pager --output=cat {since} --unit={shlex.quote(unit)}", check=False)

    def forget(self) -> None:
        """What was said so far counts no more."""
        said = self.sh("journalctl --sync; journalctl --no-pager --lines=1 --show-cursor")
        self._cursor = said.rpartition("-- cursor: ")[2]

    def says(self, text: str, seconds: float = 60, unit: str = "phasewatch-edge", count: int = 1) -> None:
        """Wait for a line in the journal, so many times."""
        try:
            until(lambda: self.journal(unit).count(text) >= count, seconds, f"{text!r} in the journal")
        except AssertionError:
            raise AssertionError(f"no {text!r}:\n{self.journal(unit)[-4000:]}") from None

    def property(self, name: str, unit: str = "phasewatch-edge") -> str:
        """As `systemctl show` says."""
        return self.sh(f"systemctl show --property={name} --value {shlex.quote(unit)}")

    def bring(self, *files: Path) -> None:
        """Copy files into its /shared."""
        for file in files:
            shutil.copy(file, self.shared / file.name)

    def end(self) -> None:
        """As a pulled plug, but for what the disk has not seen yet: that is this machine's memory, and stays."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._init, signal.SIGKILL)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self.log.close()


@contextlib.contextmanager
def container(root: Path, folder: Path) -> Iterator[Container]:
    """Booted, and ended with the block."""
    booted = Container(root, folder)
    try:
        yield booted
    finally:
        booted.end()
