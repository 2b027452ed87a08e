"""The service on whole machines, amd64 and arm64: boot, watchdog, memory limit, stop, a pulled plug, and boot again."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

import pytest

from contracts.features.schema import FeatureSchema
from tests.boot.clean import Clean, clean
from tests.boot.conftest import Debs, build_debs
from tests.boot.guide import X86
from tests.boot.machine import Machine, disk_of, with_scenario
from tests.boot.roots import AMD64, ARM64, REPO, Root, emulated, made
from tests.bundles import make_bundle
from tests.live.lab import image

pytestmark = [pytest.mark.slow, pytest.mark.system]
EXAMPLES = "/usr/share/doc/phasewatch-edge/examples"
CONFIG = """node = "pi-1"
[broker]
url = "mqtt://pi-1@127.0.0.1"
[netflow]
[[guest]]
id = "camera-1"
addresses = ["10.77.0.2"]
qmp = "/run/phasewatch/camera-1/qmp.sock"
feed = "/run/phasewatch/camera-1/feed.sock"
tap = "tap0"
"""
SET_UP = f"""set -e
dpkg --install /root/*.deb
install -m 0644 {EXAMPLES}/mosquitto/local.conf /etc/mosquitto/conf.d/phasewatch.conf
install -m 0644 {EXAMPLES}/mosquitto/acl /etc/mosquitto/acl
umask 077
echo secret-1 > /etc/phasewatch/credentials/mqtt-password
echo secret-2 > /etc/phasewatch/credentials/dashboard-mqtt-password
mosquitto_passwd -c -b /etc/mosquitto/passwords pi-1 secret-1
mosquitto_passwd -b /etc/mosquitto/passwords dashboard secret-2
chown mosquitto: /etc/mosquitto/passwords
umask 022
install -m 0644 {EXAMPLES}/systemd/phasewatch-guest@.service /etc/systemd/system/
systemd-sysusers --inline 'u phasewatch-camera-1 - "Guest camera-1"'
install -D -m 0644 /root/camera-1.env /etc/phasewatch/guests/camera-1.env
# under double emulation the agent takes its time
mkdir -p /etc/systemd/system/phasewatch-edge.service.d
printf '[Service]\\nWatchdogSec=30s\\n' > /etc/systemd/system/phasewatch-edge.service.d/test.conf
systemctl enable phasewatch-guest@camera-1 phasewatch-exporter@tap0 mosquitto
systemctl disable phasewatch-dashboard pmacctd nfacctd sfacctd uacctd 2>/dev/null || true
"""


@pytest.mark.parametrize(
    ("root", "steps"),
    [
        pytest.param(AMD64, "few", id="amd64"),
        pytest.param(AMD64, "all", id="amd64-all", marks=pytest.mark.machine),
        pytest.param(ARM64, "all", id="arm64-all", marks=pytest.mark.machine),
    ],
)
def test_a_machine_boots_watches_survives_and_comes_back(
    root: Root, steps: str, tmp_path: Path, schema: FeatureSchema, signing_key: Path, debs: Debs
) -> None:
    arm = root.architecture == "arm64"
    with emulated() if arm else contextlib.nullcontext():
        base = made(root)
        with clean(base, tmp_path / "root", room="4G") as inside:
            if arm:
                packages, other = _packages(root, tmp_path, schema, signing_key)
            else:
                packages, other = debs.site, debs.bundles[1]
            _set_up(inside, root, packages, other)
            with_scenario(inside.path)
            boot = tmp_path / "boot"
            boot.mkdir()
            for name in ("vmlinuz-*", "initrd.img-*"):
                (found,) = (inside.path / "boot").glob(name)
                shutil.copy(found, boot)
            inside.leave()
            disk_of(inside.path, tmp_path / "disk.img")
    slow = 4 if arm else 1
    log = tmp_path / "console.log"
    machine = Machine(root.architecture, boot, tmp_path / "disk.img", log, stage=1, steps=steps)
    try:
        machine.wait("CUT-NOW", 900 * slow)
    finally:
        machine.pull_the_plug()
    machine = Machine(root.architecture, boot, tmp_path / "disk.img", log, stage=2, steps=steps)
    try:
        machine.wait("SCENARIO-DONE", 400 * slow)
    finally:
        machine.pull_the_plug()
    said = log.read_text(errors="replace")
    print("\n".join(line for line in said.splitlines() if re.search("STEP|COST|CUT|WAITED", line)))
    queued, waited = (int(re.findall(rf"{word} (\d+)", said)[-1]) for word in ("CUT-NOW", "WAITED"))
    assert waited >= queued > 0, "what was in the outbox when the plug was pulled is sent after it"


def _packages(root: Root, folder: Path, schema: FeatureSchema, signing_key: Path) -> tuple[Path, Path]:
    """A folder with packages that bring a bundle along, and another bundle: for a processor that is not this one."""
    first, other = (make_bundle(folder, schema, signing_key, one, machine="aarch64") for one in (0, 1))
    build_debs(
        folder / "debs", "--suite", root.suite, "--architecture", root.architecture,
        "--bundle", str(first), "--trust", str(signing_key.with_suffix(".pub")), "--compress", "gzip",
    )  # fmt: skip
    return folder / "debs", other


def _set_up(inside: Clean, root: Root, packages: Path, other: Path) -> None:
    """Install, configure, enable: as the guide does it, in a root that is not booted yet."""
    home = inside.path / "root"
    for package in packages.glob("phasewatch-edge_*.deb"):
        shutil.copy(package, home)
    shutil.copy(other, home / "other.bundle")
    env = (REPO / "firmware-config" / "systemd" / "camera-1.env").read_text()
    (home / "camera-1.env").write_text(X86 if root.architecture == "amd64" else env)
    inside.sh(SET_UP, seconds=600)
    (inside.path / "etc/phasewatch/edge.toml").write_text(CONFIG)
    (inside.path / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 1\n")
    guest = inside.path / "srv/guests/camera-1"
    if root.architecture == "amd64":
        guest.mkdir(parents=True)
        for name in ("kernel", "initrd"):
            shutil.copy(image() / name, guest)
    else:  # as on a Pi: the tiny guest is made there, by the shell alone
        shutil.copy("/etc/resolv.conf", inside.path / "etc/resolv.conf")
        inside.sh(f"apt-get update -q && sh {EXAMPLES}/guest/build.sh /srv/guests/camera-1", seconds=900)
