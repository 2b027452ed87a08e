"""What systemd is told, by a socket as systemd's (sd_notify(3)); tests of the real one come with its unit."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield one


def said(manager: socket.socket) -> list[str]:
    found = []
    try:
        while True:
            found.append(manager.recv(4096).decode())
    except BlockingIOError:
        return found


def test_states_are_told_in_the_words_of_sd_notify(manager: socket.socket) -> None:
    notifier = Notifier()
    notifier.ready()
    notifier.status("watching g1")
    notifier.status("watching g1")  # no news
    notifier.reloading()
    notifier.stopping()
    first, second, third, last = said(manager)
    assert (first, second, last) == ("READY=1", "STATUS=watching g1", "STOPPING=1")
    assert third.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert abs(int(third.rpartition("=")[2]) - time.monotonic_ns() // 1000) < 60_000_000


def test_signs_of_life_come_four_times_as_often_as_they_are_wanted(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    notifier = Notifier()
    for _ in range(5):
        notifier.alive()
    assert said(manager) == ["WATCHDOG=1"]
    time.sleep(0.11)
    notifier.alive()
    assert said(manager) == ["WATCHDOG=1"]


def test_without_systemd_nothing_is_told_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Notifier().ready()
    monkeypatch.setenv("NOTIFY_SOCKET", "/nobody/here")
    Notifier().ready()


def test_an_abstract_socket_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind("\0phasewatch-test-notify")
        monkeypatch.setenv("NOTIFY_SOCKET", "@phasewatch-test-notify")
        Notifier().ready()
        assert one.recv(100) == b"READY=1"
