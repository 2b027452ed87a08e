"""The UDP side of flow export: who may send, what is kept over a restart, and what is each guest's own."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from contracts.telemetry.rows import NetflowRow
from edge.collectors.base import SourceError, Taken
from edge.collectors.netflow import NetflowCollector, concerns
from edge.session.boots import Boots
from tests.edge.test_export import RECORDED, lines


def collector(*exporters: str, boots: Boots | None = None, host: str = "127.0.0.1") -> NetflowCollector:
    one = NetflowCollector(host, 0, exporters, boots.known if boots else {}, boots.keep if boots else lambda _: None)
    one.open()
    return one


def datagrams(port: int) -> list[bytes]:
    """What one exporter sent."""
    return [bytes.fromhex(line["data"]) for line in lines(RECORDED[port]) if line["port"] == port]


def send(to: NetflowCollector, data: list[bytes], address: str = "127.0.0.1") -> list[Taken]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found: list[Taken] = []
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        for one in data:
            sender.sendto(one, (address, to.port))
            found += to.read()
    return found


def test_flows_come_with_the_time_of_their_receipt_and_how_late_they_are() -> None:
    one = collector("127.0.0.1")
    before = time.time_ns()
    taken = send(one, datagrams(2053))
    assert len(taken) > 50
    assert all(
        isinstance(some.row, NetflowRow) and some.row.recv_wall_ns == some.at.wall_ns >= before for some in taken
    )
    assert all(some.lag_ms is not None and some.lag_ms > 0 for some in taken)
    assert one.counts["flows"] == len(taken)
    one.close()


def test_datagrams_of_strangers_are_counted_named_once_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    one = collector("10.0.0.1")
    assert send(one, datagrams(2051) * 2) == []
    assert one.counts == {"unknown_exporter": 2 * len(datagrams(2051))}
    assert caplog.text.count("datagrams of 127.0.0.1 are dropped; name it in netflow.exporters") == 1
    one.close()


def test_an_exporter_by_ipv6_and_one_that_is_written_another_way_are_known() -> None:
    one = collector("0:0::1", host="::1")
    assert send(one, datagrams(2051), "::1")
    one.close()


def test_a_port_that_is_taken_is_told() -> None:
    one = collector("127.0.0.1")
    other = NetflowCollector("127.0.0.1", one.port, ["127.0.0.1"], {}, lambda _: None)
    with pytest.raises(SourceError, match=r"UDP 127\.0\.0\.1:\d+: Address already in use"):
        other.open()
    one.close()


def test_the_boot_of_an_exporter_is_known_after_a_restart_of_the_agent(tmp_path: Path) -> None:
    """softflowd says it in its first message alone."""
    whole = datagrams(2063)
    boots = Boots(tmp_path)
    one = NetflowCollector("127.0.0.1", 0, ["127.0.0.1"], boots.known, boots.keep)
    one.open()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(whole[0], ("127.0.0.1", one.port))
        one.read()
        one.close()
        again = Boots(tmp_path)
        assert again.known
        other = NetflowCollector("127.0.0.1", 0, ["127.0.0.1"], again.known, again.keep)
        other.open()
        found: list[Taken] = []
        for data in whole:
            sender.sendto(data, ("127.0.0.1", other.port))
            found += other.read()
    assert found
    other.close()


def test_flows_that_waited_for_a_boot_come_when_it_is_said() -> None:
    """A replay goes by the time of receipt: it must be that at which they could be known."""
    one = collector("127.0.0.1")
    whole = datagrams(2063)
    found = send(one, [*whole[1:4], *whole])
    assert found
    assert all(some.row.recv_wall_ns == some.at.wall_ns for some in found if isinstance(some.row, NetflowRow))
    one.close()


@pytest.mark.parametrize("text", ["", "[]", '{"a": "b"}', '{"a": -1}'])
def test_a_spoilt_file_of_boots_is_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "exporters.json").write_text(text)
    assert Boots(tmp_path).known == {}


def test_a_flow_concerns_whoever_sends_or_receives_it_by_either_family() -> None:
    row = NetflowRow(
        t_wall_ns=0, t_mono_ns=0, recv_wall_ns=0, start_wall_ns=0, end_wall_ns=0, src="2001:db8:0::1",
        dst="::ffff:10.0.0.2", sport=0, dport=0, proto=6, tcp_flags=0, packets=1, bytes=1,
    )  # fmt: skip
    assert concerns(row, frozenset({"2001:db8::1"}))
    assert concerns(row, frozenset({"10.0.0.2"}))
    assert not concerns(row, frozenset({"10.0.0.3"}))
