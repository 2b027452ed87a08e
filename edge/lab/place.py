"""What lies around one guest, in a network namespace that it has for itself: tap, routes, sink, flow exporter, disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contracts.errors import GuestError
from edge.lab.machine import TAP
from edge.lab.places import ANSWERED, HOST, Ports
from edge.lab.quota import join

FLOWS = 2055
DISK_MB = 256
_EXPORTER = (
    f"pcap_interface: {TAP}\nplugins: nfprobe\naggregate: src_host, dst_host, src_port, dst_port, proto, tcpflags\n"
    f"nfprobe_receiver: 127.0.0.1:{FLOWS}\nnfprobe_version: 10\n"
    "nfprobe_timeouts: tcp=5:tcp.fin=2:tcp.rst=2:udp=2:icmp=2:general=5:maxlife=5:expint=1\n"
)
"""As firmware-config/pmacctd.conf, for our tap."""


class Place:
    """One namespace and what runs in it. `python -m edge.lab.episode` is inside already."""

    def __init__(self, folder: Path, ports: Ports) -> None:
        self._folder, self._ports = folder, ports
        self._running: dict[str, tuple[list[str], subprocess.Popen[Any]]] = {}

    def lay(self) -> None:
        """Everything but guest and exporter. Raises `GuestError`."""
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "tuntap", "add", TAP, "mode", "tap")
        _run("ip", "addr", "add", f"{HOST}/24", "dev", TAP)
        _run("ip", "link", "set", TAP, "up")
        _run("ip", "route", "add", "local", f"{ANSWERED}/24", "dev", "lo")
        disk = self._folder / "disk.img"
        with disk.open("wb") as file:
            file.truncate(DISK_MB << 20)
        # all of it is laid out now: ext4 would go on with that in the guest, for minutes
        _run("mke2fs", "-q", "-t", "ext4", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(disk))
        tcp, udp = ([str(port) for port in ports] for ports in (self._ports.tcp, self._ports.udp))
        self._start("sink", [sys.executable, "-m", "edge.lab.sink", "--tcp", *tcp, "--udp", *udp])

    def export(self) -> None:
        """Flow records. Whoever takes them must listen already: templates come first, and then not for a while."""
        settings = self._folder / "pmacctd.conf"
        settings.write_text(_EXPORTER)
        self._start("exporter", ["pmacctd", "-f", str(settings)])

    def start(self, name: str, command: Sequence[str], group: Sequence[Path]) -> subprocess.Popen[Any]:
        """The guest, in its cgroup. group: files that take its process id."""
        process = self._start(name, command)
        join(group, process.pid)
        return process

    def lost(self) -> list[str]:
        """What has ended by itself, and was started again; a guest is not. Raises `GuestError` where it has."""
        found = []
        for name, (command, process) in list(self._running.items()):
            if process.poll() is None:
                continue
            if name == "guest":
                raise GuestError("the guest", f"QEMU ended with {process.returncode}: {self._last_words(name)}",
                                 expected="a guest that runs", remedy="see its console.log")  # fmt: skip
            found.append(name)
            self._start(name, command)
        return found

    def end(self) -> None:
        """All of it, the guest first."""
        for _, process in reversed(self._running.values()):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _start(self, name: str, command: Sequence[str]) -> subprocess.Popen[Any]:
        with (self._folder / f"{name}.log").open("ab") as log:
            try:
                process = subprocess.Popen(list(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            except OSError as error:
                raise _refused(command[0], error.strerror or str(error)) from None
        self._running[name] = list(command), process
        return process

    def _last_words(self, name: str) -> str:
        lines = (self._folder / f"{name}.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no word"


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except OSError as error:
        raise _refused(command[0], error.strerror or str(error)) from None
    except subprocess.CalledProcessError as error:
        raise _refused(" ".join(command[:3]), " ".join((error.stderr or "no word").split())) from None


def _refused(what: str, found: str) -> GuestError:
    return GuestError(what, found, expected="a place for a guest",
                      remedy="install iproute2, e2fsprogs and pmacct; is there a /dev/net/tun?")  # fmt: skip
