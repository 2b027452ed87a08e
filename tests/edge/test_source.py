"""Where bundles come from: a file, a folder, an address; what was installed before is no news; root and the owner."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPMessage
from pathlib import Path

import pytest

from contracts.bundle.archive import MAX_BUNDLE
from contracts.errors import BoundError, ConfigError, MissingError
from edge.cli import main
from edge.deploy import source
from edge.deploy.deployment import read_deployment
from edge.deploy.site import Site
from edge.deploy.source import offered, remember, was_installed


class Answers(http.server.BaseHTTPRequestHandler):
    """Says what the test wants: `answer` does the rest."""

    data = b""
    location = ""
    length: int | None = None

    def do_GET(self) -> None:
        if self.path == "/gone":
            self.send_error(404)
        elif self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", self.location)
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.data) if self.length is None else self.length))
            self.end_headers()
            self.wfile.write(self.data)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def serving(data: bytes, location: str = "", length: int | None = None) -> Iterator[str]:
    """An address on this machine."""
    kind = type("One", (Answers,), {"data": data, "location": location, "length": length})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_of_a_folder_the_newest_bundle_is_taken(tmp_path: Path) -> None:
    for age, name in ((30, "b"), (10, "a"), (20, "c")):
        path = tmp_path / f"{name}.bundle"
        path.write_text(name)
        os.utime(path, (1e9 - age, 1e9 - age))
    (tmp_path / "half.part").write_text("newer, and not whole")
    assert offered(str(tmp_path)) == (tmp_path / "a.bundle", b"a")


def test_a_folder_without_a_bundle_and_a_file_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no \.bundle in it; expected one or more; copy one there"):
        offered(str(tmp_path))
    with pytest.raises(MissingError, match="no such file"):
        offered(str(tmp_path / "x.bundle"))


def test_an_address_is_asked_and_what_it_sends_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(b"a bundle") as address:
        assert offered(f"{address}/latest.bundle").data == b"a bundle"
        with pytest.raises(MissingError, match="the server says 404 Not Found; expected a bundle; see the address"):
            offered(f"{address}/gone")
    with serving(b"half", length=100) as address, pytest.raises(MissingError, match="cut short by 96 bytes"):
        offered(address)
    monkeypatch.setattr(source, "MAX_BUNDLE", 1000)
    with serving(b"x" * 100_000) as address, pytest.raises(BoundError, match="over 1000 bytes; expected a bundle"):
        offered(address)
    assert MAX_BUNDLE > 1000


def test_nobody_answering_is_one_line() -> None:
    with pytest.raises(MissingError, match="not to be had: .*refused.*; expected a bundle"):
        offered("http://127.0.0.1:1/x.bundle")


@pytest.mark.parametrize("url", ["http://example.invalid/b", "ftp://127.0.0.1/b", "file:///etc/passwd", "http://[/b"])
def test_an_address_that_is_neither_https_nor_this_machine_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="neither https nor this machine; expected https://host/path"):
        offered(url)


def test_a_redirection_leads_nowhere_that_an_address_may_not() -> None:
    refused = pytest.raises(ConfigError, match="http://example.invalid/b: neither https nor this machine")
    with serving(b"", location="http://example.invalid/b") as address, refused:
        offered(f"{address}/elsewhere")
    asked = urllib.request.Request("https://example.invalid/b")
    with pytest.raises(ConfigError, match="http://127.0.0.1/b: no https; expected https after https"):
        source._Redirected().redirect_request(asked, io.BytesIO(), 302, "", HTTPMessage(), "http://127.0.0.1/b")


def test_a_server_that_says_a_byte_now_and_then_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "TOGETHER_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            peer, _ = listener.accept()
            with peer, contextlib.suppress(OSError):
                for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 200:
                    peer.sendall(bytes([byte]))
                    time.sleep(0.05)

        threading.Thread(target=trickle, daemon=True).start()
        with pytest.raises(MissingError, match="not whole after 1 s; expected a bundle"):
            offered(f"http://127.0.0.1:{listener.getsockname()[1]}/b")


def test_what_was_installed_is_remembered_within_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MOST", 3)
    for digit in "1234":
        remember(tmp_path, digit * 64)
    remember(tmp_path, "2" * 64)
    assert [was_installed(tmp_path, digit * 64) for digit in "1234"] == [False, True, True, True]
    (tmp_path / source.FILE).write_text("spoiled")
    assert not was_installed(tmp_path, "2" * 64)


def test_a_source_that_offers_the_same_again_changes_nothing_even_after_a_rollback(
    site: Site, bundles: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "incoming"
    folder.mkdir()
    where = ["--once", "--state", str(site.folder), "--trust", str(site.trust_folder)]
    for bundle in bundles[:2]:
        shutil.copy(bundle, folder)
        os.utime(folder / bundle.name, (1e9 + bundles.index(bundle), 1e9 + bundles.index(bundle)))
        assert main(["install", str(folder), *where]) == 0
    assert main(["rollback", *where[1:]]) == 0
    before = read_deployment(site.folder)
    assert before.current is not None
    assert before.current.name == bundles[0].name.removesuffix(".bundle")
    capfd.readouterr()
    assert main(["install", str(folder), *where]) == 0
    assert f"{folder / bundles[1].name} was installed here before: nothing is done" in capfd.readouterr().err
    assert read_deployment(site.folder) == before
    assert main(["install", str(folder), *where[1:]]) == 0, "a person may"
    after = read_deployment(site.folder)
    assert after.current is not None
    assert after.current.name == bundles[1].name.removesuffix(".bundle")


@pytest.mark.parametrize(("owner", "becomes"), [((12345, 23456), [12345, 23456]), ((0, 0), [0, 0])])
def test_root_becomes_the_owner_of_a_folder_for_good(
    owner: tuple[int, int], becomes: list[int], tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.fail("expected root, as for the tests with network namespaces")
    os.chown(tmp_path, *owner)
    script = (
        "import json, os, pathlib, sys; from contracts.shell.owner import become_owner\n"
        "become_owner(pathlib.Path(sys.argv[1])); become_owner(pathlib.Path('/nowhere'))\n"
        "try: os.seteuid(0)\n"
        "except PermissionError: pass\n"
        "print(json.dumps([*os.getresuid(), *os.getresgid(), *os.getgroups()]))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    uid, gid = becomes
    found = json.loads(done.stdout)
    assert found[:6] == [uid] * 3 + [gid] * 3
    assert uid == 0 or found[6:] == [], "root's other groups are left, too"


def test_what_runs_as_the_owner_has_no_hold_of_roots_terminal(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 23456)
    script = (
        "import os, pathlib, sys; from contracts.shell.owner import become_owner\n"
        "become_owner(pathlib.Path(sys.argv[1]))\n"
        "print(os.getresuid()[0], any(map(os.isatty, (0, 1, 2))), os.getsid(0) == os.getpid(), flush=True)\n"
        "try: open('/dev/tty')\n"
        "except OSError as error: print(error.strerror, file=sys.stderr)\n"
        "sys.exit(7)"
    )
    said, status = bytearray(), 0
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", script, str(tmp_path)])
    with contextlib.suppress(OSError):  # its other end is closed
        while data := os.read(terminal, 4096):
            said += data
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    assert said.decode().split("\r\n") == ["12345 False True", "No such device or address", ""]
    assert status == 7
