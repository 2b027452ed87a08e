"""The guide, docs/pi.md, followed word by word in a booted container: what the tests of the service start from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.boot.container import Container
from tests.boot.roots import REPO
from tests.live.lab import image, until


@dataclass
class Watched:
    """A container in which an agent watches a guest, as the guide says, and a subscriber writes down what it hears."""

    container: Container
    said: str

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Of one kind, in the order of arrival."""
        whole, _, _ = (self.container.shared / "heard.txt").read_bytes().rpartition(b"\n")
        lines = [line.partition(b" ") for line in whole.splitlines()]
        return [json.loads(payload) for topic, _, payload in lines if topic.endswith(b"/" + kind.encode())]

    def heard(self) -> str:
        """All of it."""
        return (self.container.shared / "heard.txt").read_text()

    def windows(self, more: int = 1, seconds: float = 60) -> list[dict[str, Any]]:
        """All of them, once so many more have come."""
        before = len(self.events("window"))
        until(lambda: len(self.events("window")) >= before + more, seconds, f"{more} more windows")
        return self.events("window")

    @property
    def pid(self) -> int:
        """Of the agent."""
        return int(self.container.property("MainPID"))


GUIDE = REPO / "docs" / "pi.md"
X86 = """QEMU=qemu-system-x86_64
TAP=tap0
ADDRESS=10.77.0.1/24
GUEST=-M q35 -accel tcg -cpu qemu64 -m 96 -kernel /srv/guests/camera-1/kernel -initrd /srv/guests/camera-1/initrd \
-append "console=ttyS0 quiet address=10.77.0.2/24"
"""
"""The guide's guest is for a Pi's processor; this is the same for the one of this container."""


def steps() -> list[str]:
    """The commands of the guide, as it has them."""
    return re.findall(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)


def follow(booted: Container) -> str:
    """All of it, in one shell, as a newcomer types it; what was said."""
    examples = "/usr/share/doc/phasewatch-edge/examples/systemd"
    first, *rest = (step.replace("qemu-system-arm", "qemu-system-x86") for step in steps())
    # no udev in a container, and so no device that the exporter could wait for
    bound = "sed '/^BindsTo=\\|^After=sys/d' /lib/systemd/system/phasewatch-exporter@.service"
    between = f"cp /shared/camera-1.env {examples}/; {bound} > /etc/systemd/system/phasewatch-exporter@.service"
    (booted.shared / "camera-1.env").write_text(X86)
    password = '"$(cat /etc/phasewatch/credentials/dashboard-mqtt-password)"'
    listen = f"mosquitto_sub -h 127.0.0.1 -u dashboard -P {password} -t phasewatch/# -q 1 -i heard -c -F '%t %p'"
    (booted.shared / "hear.sh").write_text(f"exec {listen} >> /shared/heard.txt\n")
    hear = "systemd-run --quiet --unit=heard sh /shared/hear.sh\n"
    script = "\n".join(["set -e; cp /shared/*.deb /tmp", first, between, rest[0], hear, *rest[1:]])
    return booted.sh(script, seconds=240)


def prepare(booted: Container, packages: Iterable[Path]) -> None:
    """What the guide takes for granted: the packages beside its reader, and a guest's image."""
    booted.bring(*packages, image() / "kernel", image() / "initrd")
    booted.sh("mkdir -p /srv/guests/camera-1 && cp /shared/kernel /shared/initrd /srv/guests/camera-1/")
