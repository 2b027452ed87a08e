"""A real guest to watch: QEMU in a network namespace of its own, with tap, sink, flow exporter and broker beside it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from contracts.files import locked
from tests.brokers import program

ROOT = Path(__file__).parents[2]
GUEST, HOST = "10.77.0.2", "10.77.0.1"
SINK = """
import http.server, sys
class Sink(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"x" * 20000
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer((sys.argv[1], 8080), Sink).serve_forever()
"""


def image() -> Path:
    """Kernel and initrd of the tiny guest, made once."""
    folder = ROOT / "build" / "guest"
    with locked(ROOT / "build" / "guest.lock", wait_s=300):
        subprocess.run(["sh", str(ROOT / "firmware-config" / "guest" / "build.sh"), str(folder)], check=True)
    return folder


def until(true: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait for something, and return it."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, f"no {what} in {seconds} s"
        time.sleep(0.1)
    return found


class Lab:
    """One namespace and what runs in it. Everything that is started here ends with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._name = f"pw-{os.getpid()}-{abs(hash(folder)) % 10000}"
        self._processes: list[subprocess.Popen[Any]] = []

    def __enter__(self) -> Lab:
        self._ip("netns", "add", self._name)
        self.ip("link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            end(process)
        self._ip("netns", "delete", self._name)

    def ip(self, *arguments: str) -> None:
        """`ip` inside."""
        self._ip("-n", self._name, *arguments)

    @property
    def inside(self) -> list[str]:
        """How a command inside begins."""
        return [str(program("ip")), "netns", "exec", self._name]

    def start(self, *command: str, log: str = "", env: dict[str, str] | None = None) -> subprocess.Popen[Any]:
        """Run a program inside; log: the file of its output in the folder."""
        with (self.folder / log if log else Path(os.devnull)).open("ab") as file:
            process = subprocess.Popen(
                [*self.inside, *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file if log.endswith(".log") else None,
                env={**os.environ, **(env or {})},
            )
        self._processes.append(process)
        return process

    def add_tap(self, name: str = "tap0") -> None:
        """A guest's interface, with the host's address."""
        self.ip("tuntap", "add", name, "mode", "tap")
        self.ip("addr", "add", f"{HOST}/24", "dev", name)
        self.ip("link", "set", name, "up")

    def sink(self, address: str = HOST) -> None:
        """A web server that the guest can talk to."""
        self.start(sys.executable, "-c", SINK, address)

    def broker(self, port: int = 1883) -> subprocess.Popen[Any]:
        """A mosquitto inside."""
        settings = self.folder / "mosquitto.conf"
        settings.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {self.folder}/\nmax_queued_messages 0\nuser root\n"
        )
        log = self.folder / "mosquitto.log"
        before = log.read_text().count(" running") if log.exists() else 0
        process = self.start(str(program("mosquitto")), "-c", str(settings), log=log.name)
        until(lambda: log.read_text().count(" running") > before, 60, "broker")
        return process

    def subscribe(self, session: str | None = None) -> Path:
        """A file in which all events appear, as `topic payload` lines. session: one that outlives the broker."""
        command = [str(program("mosquitto_sub")), "-h", "127.0.0.1", "-t", "phasewatch/#", "-q", "1", "-F", "%t %p"]
        command += [] if session is None else ["-i", session, "-c"]
        self.start(*command, log="heard.txt")
        return self.folder / "heard.txt"

    def exporter(self, port: int = 2055, tap: str = "tap0", version: int = 10) -> subprocess.Popen[Any]:
        """pmacctd, as on the Pi (docs/live.md)."""
        settings = self.folder / f"pmacctd-{tap}.conf"
        settings.write_text(
            f"pcap_interface: {tap}\nplugins: nfprobe\n"
            "aggregate: src_host, dst_host, src_port, dst_port, proto, tcpflags\n"
            f"nfprobe_receiver: 127.0.0.1:{port}\nnfprobe_version: {version}\n"
            "nfprobe_timeouts: tcp=5:tcp.fin=2:tcp.rst=2:udp=2:icmp=2:general=5:maxlife=5:expint=1\n"
        )
        return self.start(str(program("pmacctd")), "-f", str(settings), log="pmacctd.log")

    def agent(self, config: Path, *options: str, env: dict[str, str] | None = None, wrap: Sequence[str] = ()) -> Agent:
        """`edge run`."""
        command = [*wrap, sys.executable, "-m", "edge.cli", "run", "--config", str(config), *options]
        return Agent(self.start(*command, log="agent.log", env=env), self.folder / "agent.log")

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run([program("ip"), *arguments], check=True, capture_output=True)


class Agent:
    """A running `edge run`."""

    def __init__(self, process: subprocess.Popen[Any], log: Path) -> None:
        self.process, self._log = process, log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def says(self, text: str, seconds: float = 30, count: int = 1) -> None:
        """Wait for a line of its log."""
        until(lambda: self.log.count(text) >= count or self.process.poll() is not None, seconds, f"{text!r} in the log")
        assert self.log.count(text) >= count, self.log

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


class Guest:
    """A booted QEMU."""

    def __init__(
        self,
        lab: Lab,
        name: str = "g1",
        *,
        tap: str | None = "tap0",
        address: str = GUEST,
        disk: bool = True,
        cpus: int = 1,
        feed: str = "c",
    ) -> None:
        """feed: c, sh or none."""
        self._address = address
        self._lab, self._tap, self._disk, self._cpus, self._feed = lab, tap, disk, cpus, feed
        self.name, self.folder = name, lab.folder / name
        self.folder.mkdir(exist_ok=True)
        self._lines = 0
        self.boot()

    def boot(self) -> None:
        """Start it, with fresh sockets."""
        made, at = image(), self.folder
        for left in at.glob("*.sock"):
            left.unlink()
        append = f"console=ttyS0 quiet panic=-1 feed={self._feed} address={self._address}/24"
        command = [
            str(program("qemu-system-x86_64")), "-M", "q35", "-accel", "tcg", "-cpu", "qemu64", "-m", "96",
            "-smp", f"{self._cpus},maxcpus=4", "-nodefaults", "-no-user-config", "-display", "none",
            "-name", self.name, "-pidfile", f"{at}/pid",
            "-kernel", str(made / "kernel"), "-initrd", str(made / "initrd"), "-append", append,
            "-chardev", f"socket,id=console,path={at}/console.sock,server=on,wait=off", "-serial", "chardev:console",
            "-qmp", f"unix:{at}/qmp.sock,server=on,wait=off", "-qmp", f"unix:{at}/control.sock,server=on,wait=off",
            "-device", "virtio-serial-pci", "-chardev", f"socket,id=feed,path={at}/feed.sock,server=on,wait=off",
            "-device", "virtserialport,chardev=feed,name=org.phasewatch.feed.0",
        ]  # fmt: skip
        if self._tap is not None:
            command += ["-netdev", f"tap,id=net,ifname={self._tap},script=no,downscript=no"]
            command += ["-device", "virtio-net-pci,netdev=net"]
        if self._disk:
            (at / "disk.img").write_bytes(b"\0" * (8 << 20))
            command += ["-drive", f"file={at}/disk.img,if=none,id=disk,format=raw"]
            command += ["-device", "virtio-blk-pci,drive=disk"]
        self.process = self._lab.start(*command, log="qemu.log")
        until(lambda: (at / "control.sock").exists(), 60, "QEMU's sockets")

    def wait_up(self) -> None:
        """Until its shell answers."""
        self.shell("true", 90)

    def shell(self, line: str, seconds: float = 30) -> str:
        """Type a line at the guest's console, and wait until it is done; what the guest said."""
        self._lines += 1
        done = f"done-{self._lines}-{os.getpid()}"
        with socket.socket(socket.AF_UNIX) as console:
            console.connect(str(self.folder / "console.sock"))
            console.settimeout(1)
            said, stop = "", time.monotonic() + seconds
            typed = -1e9
            while done not in said:
                assert time.monotonic() < stop, said[-500:]
                if time.monotonic() - typed > 5 and f"begun-{self._lines}" not in said:  # nobody has read it yet
                    # the words are broken up, so that the echo of the line is not taken for them
                    console.sendall(f"echo beg''un-{self._lines}\n{line}\n echo do''{done[2:]}\n".encode())
                    typed = time.monotonic()
                with contextlib.suppress(TimeoutError):
                    said += console.recv(4096).decode(errors="replace")
            return said

    def qmp(self, command: str, **arguments: Any) -> Any:
        """Ask QEMU to do something, by the socket that is not the agent's."""
        return ask(self.folder / "control.sock", command, **arguments)

    def kill(self) -> None:
        """As a crash would."""
        pid = int((self.folder / "pid").read_text())
        os.kill(pid, signal.SIGKILL)
        self.process.wait(60)


def ask(path: Path, command: str, **arguments: Any) -> Any:
    """One QMP command, by a connection of its own."""
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(path))
        file = control.makefile("rw")
        file.readline()
        for one in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
            file.write(json.dumps(one) + "\n")
            file.flush()
            while "return" not in (answer := json.loads(file.readline())):
                assert "error" not in answer, answer
        return answer["return"]


def end(process: subprocess.Popen[Any]) -> None:
    """A process of ours."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def events(heard: Path, kind: str) -> list[dict[str, Any]]:
    """The documents of one kind that have arrived."""
    whole, _, _ = heard.read_bytes().rpartition(b"\n")
    return [
        json.loads(line.partition(b" ")[2])
        for line in whole.splitlines()
        if line.split(b" ")[0].endswith(kind.encode())
    ]


def config(folder: Path, bundle: Path, trust: Path, *, more: str = "", guest: str = "", netflow: bool = True) -> Path:
    """An edge.toml for one guest `g1`, all four sources."""
    path = folder / "edge.toml"
    flows = '[netflow]\nlisten = "127.0.0.1:2055"\n' if netflow else ""
    path.write_text(
        f'node = "pi-1"\n[broker]\nurl = "mqtt://127.0.0.1:1883"\n[bundle]\nfile = "{bundle}"\ntrust = "{trust}"\n'
        f'state = "{folder}/state"\n[outbox]\nfile = "{folder}/outbox.sqlite"\n{flows}{more}\n'
        f'[[guest]]\nid = "g1"\naddresses = ["{GUEST}"]\nqmp = "g1/qmp.sock"\ntap = "tap0"\n'
        f'feed = "g1/feed.sock"\n{guest}\n'
    )
    return path


@contextlib.contextmanager
def lab_in(folder: Path) -> Iterator[Lab]:
    """A lab with tap, sink, exporter and broker."""
    with Lab(folder) as lab:
        lab.add_tap()
        lab.sink()
        lab.broker()
        lab.exporter()
        yield lab
