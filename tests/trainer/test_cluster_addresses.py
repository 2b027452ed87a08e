"""`--cluster`: a wrong address, and nobody or somebody else behind a right one, end in one line."""

from __future__ import annotations

import datetime
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from contracts.errors import ConfigError, WorkError
from tests.brokers import free_port, wait_for_port
from tests.recordings import ONE, copy_of
from tests.streams import command, ended
from trainer.workers import cluster
from trainer.workers.start import engine

WRONG = ("127.0.0.1", "127.0.0.1:8786", "tcp://127.0.0.1", "tcp://:8786", "http://127.0.0.1:8786", "ucx://127.0.0.1:1",
         "inproc://x", "tcp://127.0.0.1:0", "tcp://127.0.0.1:99999", "tcp://127.0.0.1:8786/status", "tcp://a@b:1", "",
         "TCP://127.0.0.1:1", "tcp://127.0.0.1:1\n", "tls://", "\udcff")  # fmt: skip


@pytest.mark.parametrize("address", WRONG)
def test_a_wrong_address_is_refused_in_one_line(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    from trainer.cli import main

    for words in (["validate", "x"], ["build", "x", "--out", "y"]):
        assert main([*words, "--cluster", address]) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("trainer: --cluster: address ")
        assert line.endswith("; expected tcp://host:port or tls://host:port; give what `dask scheduler` prints")
    with pytest.raises(ConfigError, match=r"--cluster: address .*; expected tcp://host:port or tls://host:port"), \
            engine(1, address):  # fmt: skip
        pass


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:8786", "tls://host.local:1", "tcp://[::1]:65535", "tcp://10.0.0.1:080"]
)
def test_a_right_address_is_taken_as_it_is(address: str) -> None:
    assert cluster.address(address) == address


@contextmanager
def listening(kind: str) -> Iterator[int]:
    """Somebody who is no scheduler, on a port: one that says nothing, one that hangs up, a web server."""
    if kind == "web":
        with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as web:
            threading.Thread(target=web.serve_forever, daemon=True).start()
            yield web.server_port
            web.shutdown()
        return
    with socket.create_server(("127.0.0.1", 0)) as server:
        if kind == "rude":

            def hang_up() -> None:
                while True:
                    server.accept()[0].close()

            threading.Thread(target=hang_up, daemon=True).start()
        yield int(server.getsockname()[1])


@pytest.mark.parametrize("kind", ["silent", "rude", "web"])
def test_somebody_who_is_no_scheduler_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_S", 1.0)
    with (
        listening(kind) as port,
        pytest.raises(
            WorkError, match=rf"tcp://127\.0\.0\.1:{port}: no answer \(.+\); expected a Dask scheduler; start"
        ),
        engine(1, f"tcp://127.0.0.1:{port}"),
    ):
        pass


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("tcp://127.0.0.1:1", 1, "no answer (Connection refused); expected a Dask scheduler; start one with"),
        (
            "tls://127.0.0.1:1",
            2,
            "no certificates; expected some in Dask's settings (distributed.comm.tls); name them there",
        ),
        ("tcp://nowhere.invalid:1", 1, "no answer ("),
        ("tcp://a..b:1", 1, "no answer ("),
    ],
)
def test_nobody_at_an_address_is_one_line_to_the_end_of_the_process(
    tmp_path: Path, address: str, status: int, words: str
) -> None:
    copy_of(ONE, tmp_path / "store")
    found, out, err = ended(command("trainer", "validate", tmp_path / "store", "--cluster", address))
    assert (found, out, len(err.splitlines())) == (status, "", 1), err
    assert f"trainer: {address}: {words}" in err


def certificate(folder: Path) -> Path:
    """A key and a certificate that vouches for itself, in one PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab")])
    began = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(began)
        .not_valid_after(began + datetime.timedelta(days=36_500))
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + made.public_bytes(serialization.Encoding.PEM)
    path = folder / "lab.pem"
    path.write_bytes(pem)
    return path


@contextmanager
def scheduler(scheme: str, env: dict[str, str]) -> Iterator[int]:
    """A real one, without workers."""
    port = free_port()
    words = ["--host", f"{scheme}://127.0.0.1", "--port", str(port), "--no-dashboard"]
    dask = [sys.executable, "-m", "dask", "scheduler", *words]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(dask, env={**os.environ, **env}, stdout=quiet, stderr=quiet) as process:
        try:
            wait_for_port(port)
            yield port
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("spoken", ["tcp", "tls"])
def test_plain_and_encrypted_are_told_apart_in_one_line(tmp_path: Path, spoken: str) -> None:
    copy_of(ONE, tmp_path / "store")
    pem = str(certificate(tmp_path))
    tls = {
        f"DASK_DISTRIBUTED__COMM__TLS__{name}": pem
        for name in ("CA_FILE", *(f"{who}__{what}" for who in ("SCHEDULER", "CLIENT") for what in ("KEY", "CERT")))
    }
    with scheduler(spoken, tls) as port:
        cases = {
            ("tcp", "with"): "a scheduler without workers" if spoken == "tcp" else "no answer (",
            ("tls", "with"): "a scheduler without workers" if spoken == "tls" else "no answer (",
            ("tls", "without"): "no certificates; expected some in Dask's settings (distributed.comm.tls); name them",
        }
        for (scheme, certificates), words in cases.items():
            address = f"{scheme}://127.0.0.1:{port}"
            validate = command("trainer", "validate", tmp_path / "store", "--cluster", address)
            status, _, err = ended(validate, env=tls if certificates == "with" else {})
            assert (status, len(err.splitlines())) == (2 if certificates == "without" else 1, 1), err
            assert f"trainer: {address}: {words}" in err
