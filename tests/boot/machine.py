"""A whole machine: qemu-system with a disk of its own, its kernel and its systemd, on which a scenario runs.

The console is all that connects it to the test. What it has not synced is lost when its plug is pulled.
"""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.brokers import program

SCENARIO = Path(__file__).with_name("scenario.sh")
UNIT = """[Unit]
Description=the scenario of a test
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh /scenario.sh
StandardOutput=journal+console
StandardError=journal+console
TimeoutStartSec=infinity
"""


@dataclass(frozen=True)
class Kind:
    """How an architecture is emulated."""

    program: str
    options: tuple[str, ...]
    console: str


KINDS = {
    "amd64": Kind("qemu-system-x86_64", ("-M", "q35", "-cpu", "qemu64"), "ttyS0"),
    "arm64": Kind("qemu-system-aarch64", ("-M", "virt", "-cpu", "cortex-a72"), "ttyAMA0"),
}


def with_scenario(root: Path) -> None:
    """Put it into a root before it becomes a disk."""
    (root / "scenario.sh").write_text(SCENARIO.read_text())
    units = root / "etc" / "systemd" / "system"
    (units / "scenario.service").write_text(UNIT)
    wants = units / "multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / "scenario.service").symlink_to("../scenario.service")
    for console in ("serial-getty@ttyS0", "serial-getty@ttyAMA0"):  # waits 90 s for a device where there is no udev
        (units / f"{console}.service").symlink_to("/dev/null")


def disk_of(root: Path, image: Path) -> None:
    """A disk with what is in a folder. Raises `CalledProcessError`."""
    with image.open("wb") as file:
        file.truncate(3 << 30)
    command = [str(program("mke2fs")), "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", str(root), str(image)]
    subprocess.run(command, check=True, capture_output=True)


class Machine:
    """One boot of a disk."""

    def __init__(self, architecture: str, boot: Path, image: Path, log: Path, *, stage: int, steps: str) -> None:
        """boot: the folder with kernel and initrd; steps: of the scenario, `all` or `few`."""
        kind = KINDS[architecture]
        (kernel,) = boot.glob("vmlinuz-*")
        (initrd,) = boot.glob("initrd.img-*")
        append = f"console={kind.console} root=/dev/vda rw init=/lib/systemd/systemd panic=1 quiet"
        append += f" stage={stage} steps={steps}"
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [
                    program(kind.program), *kind.options, "-accel", "tcg,thread=multi", "-smp", "2", "-m", "1536",
                    "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
                    "-kernel", kernel, "-initrd", initrd, "-append", append,
                    "-drive", f"file={image},if=none,id=disk,format=raw,cache=writeback",
                    "-device", "virtio-blk-pci,drive=disk",
                ],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            )  # fmt: skip

    @property
    def said(self) -> str:
        """The console so far."""
        return self._log.read_text(errors="replace")

    def wait(self, text: str, seconds: float) -> None:
        """Until the console says this. A step that failed ends the wait."""
        until = time.monotonic() + seconds
        while text not in self.said:
            failed = re.search(r"STEP-FAILED .*|can't access tty", self.said)
            assert failed is None, f"{failed}\n{self.said[-6000:]}"
            assert self._process.poll() is None, f"the machine has ended\n{self.said[-6000:]}"
            assert time.monotonic() < until, f"no {text!r} in {seconds} s\n{self.said[-6000:]}"
            time.sleep(0.5)

    def pull_the_plug(self) -> None:
        """Its memory is gone."""
        self._process.kill()
        self._process.wait(10)
