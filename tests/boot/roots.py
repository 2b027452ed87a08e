"""Make clean roots of Debian for the tests: two releases on two architectures, and one with what a watched guest needs.

    python -m tests.boot.roots build/roots        (`make roots` does it)

Made once, and anew when this file changes. Needs root, as the tests in these roots do. Those for arm64 run under the
qemu that `make arm64` unpacks.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from contracts.files import locked
from tests.debian import made_once, run

HERE = Path(__file__).resolve()
REPO = HERE.parents[2]
BINFMT = Path("/proc/sys/fs/binfmt_misc")
HANDLER = "phasewatch-aarch64"


@dataclass(frozen=True)
class Root:
    """One root: a release, an architecture, and packages besides what a minimal Debian has."""

    suite: str
    architecture: str
    name: str
    packages: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where it lies."""
        return REPO / "build" / "roots" / self.name


_NEEDED = ("systemd", "python3", "procps")
_MORE = ("mosquitto", "mosquitto-clients", "pmacct", "iproute2", "udev")
CLEAN = tuple(
    Root(suite, architecture, f"{suite}-{architecture}", _NEEDED)
    for suite in ("bookworm", "trixie")
    for architecture in ("amd64", "arm64")
)
AMD64 = Root("bookworm", "amd64", "machine-amd64", (*_NEEDED, *_MORE, "linux-image-cloud-amd64", "qemu-system-x86"))
ARM64 = Root("trixie", "arm64", "machine-arm64", (*_NEEDED, *_MORE, "linux-image-cloud-arm64", "qemu-system-arm"))
"""Whole machines; in the first a container is booted, too. The second takes minutes to make."""
_INITRD = """cd "$1/etc/initramfs-tools"
echo MODULES=list > conf.d/small; printf "%s\\n" virtio_pci virtio_blk ext4 > modules
chroot "$1" update-initramfs -c -k all"""
"""A small one, and once: the kernel's package makes one of all drivers, and a trigger the same once more."""
TAKE_MINUTES = frozenset({"bookworm-arm64", "trixie-arm64", ARM64.name})
"""To make, and to install into: under emulation. They are made when they are asked for (`make test-boot`)."""
MADE = (*CLEAN, AMD64)


def made(root: Root) -> Path:
    """The root, made if it is not there yet."""
    root.path.parent.mkdir(parents=True, exist_ok=True)
    with locked(root.path.with_suffix(".lock"), wait_s=900), made_once(root.path, f"root {root.name}", HERE) as wanted:
        if wanted:
            print(f"making a root of Debian, {root.name}: up to 100 MB to download", flush=True)
            root.path.rmdir()
            # in mounts of its own: one that is killed leaves no /sys behind, into which a removal would reach
            where = (f"--architectures={root.architecture}", f"--include={','.join(root.packages)}")
            how = ("--mode=root", "--variant=apt", '--aptopt=APT::Install-Recommends "false"', "--skip=check/qemu")
            hook = (f"--customize-hook={_INITRD}",) if root in (AMD64, ARM64) else ()
            command = ("unshare", "--mount", "mmdebstrap", *how, *where, *hook, root.suite, str(root.path))
            run(["env", "INITRD=No", *command])
    return root.path


@contextlib.contextmanager
def emulated() -> Iterator[None]:
    """Programs for arm64 run on this machine, by the kernel's binfmt_misc and a static qemu. What was not there before
    is taken away again."""
    if any("aarch64" in path.name for path in BINFMT.glob("*")):
        yield
        return
    qemu = REPO / "build" / "arm64" / "qemu-aarch64"
    if not (BINFMT / "register").exists():
        run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)])
    magic = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    mask = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
    # F: opened now, and so found in every root
    (BINFMT / "register").write_text(f":{HANDLER}:M::{magic}:{mask}:{qemu}:F")
    try:
        yield
    finally:
        (BINFMT / HANDLER).write_text("-1")


def main(folder: Path) -> None:
    """Make what is not there yet, or say in one line why it cannot be made."""
    if os.geteuid() != 0:
        raise SystemExit("roots: not root; expected root, to make roots of Debian and to boot in them; use sudo")
    assert folder == REPO / "build" / "roots"
    with emulated(), ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        list(pool.map(made, sorted(MADE, key=lambda root: root.architecture, reverse=True)))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
