"""QEMU's command line for one configuration of guest."""

from __future__ import annotations

import re
from pathlib import Path

from edge.lab.images import FOLDERS, Image
from edge.lab.places import GUEST, HOST
from edge.lab.recipe import Host

TAP = "tap0"
PROGRAMS = {"q35": "qemu-system-x86_64", "microvm": "qemu-system-x86_64", "virt": "qemu-system-aarch64"}
_MACHINES = {"q35": "q35", "microvm": "microvm,x-option-roms=off,rtc=on", "virt": "virt"}
_CPUS = {"q35": "qemu64", "microvm": "qemu64", "virt": "cortex-a72"}
_CONSOLES = {"q35": "ttyS0", "microvm": "ttyS0", "virt": "ttyAMA0"}


def command_of(host: Host, image: Image, folder: Path, name: str) -> list[str]:
    """Software emulation (TCG), a disk, a tap, and serial ports for the feed and for orders; sockets in the folder."""
    bus = "device" if host.machine == "microvm" else "pci"
    rom = (
        "" if bus == "device" else ",romfile="
    )  # nothing boots from the net, and Debian has the ROM in another package
    return [
        PROGRAMS[host.machine], "-name", name, "-M", _MACHINES[host.machine], "-accel", "tcg",
        "-cpu", _CPUS[host.machine], "-m", str(host.memory_mb), "-smp", str(host.cpus),
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-kernel", str(image.kernel), "-initrd", str(image.initrd),
        "-append", f"console={_CONSOLES[host.machine]} quiet panic=-1 address={GUEST}/24 gateway={HOST}{_clock(host)}",
        "-serial", f"file:{folder}/console.log",
        "-qmp", f"unix:{folder}/qmp.sock,server=on,wait=off",
        "-device", f"virtio-serial-{bus}",
        "-chardev", f"socket,id=feed,path={folder}/feed.sock,server=on,wait=off",
        "-device", "virtserialport,chardev=feed,name=org.phasewatch.feed.0",
        "-chardev", f"socket,id=work,path={folder}/work.sock,server=on,wait=off",
        "-device", "virtserialport,chardev=work,name=org.phasewatch.work.0",
        "-netdev", f"tap,id=net,ifname={TAP},script=no,downscript=no",
        "-device", f"virtio-net-{bus},netdev=net{rom}",
        "-drive", f"file={folder}/disk.img,if=none,id=disk,format=raw,cache=writeback",
        "-device", f"virtio-blk-{bus},drive=disk",
    ]  # fmt: skip


def _clock(host: Host) -> str:
    """A guest that has to find out how fast its clock ticks, on a busy machine, finds out wrongly or not at all.

    Linux shows twice the TSC's frequency, in MHz, as bogomips (arch/x86/kernel/tsc.c, init/calibrate.c).
    """
    found = re.search(r"^bogomips\s*: ([0-9.]+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return (
        f" tsc_early_khz={round(float(found[1]) * 500)} tsc=reliable"
        if found and FOLDERS[host.machine] == "amd64"
        else ""
    )
