"""`edge doctor`: on a bare machine one screen says what is missing, and each line has its remedy."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contracts.features.schema import FeatureSchema
from edge.commands.doctor import _steps
from edge.deliver.outbox import opened
from edge.doctor import machine, sources
from edge.doctor.steps import Step
from edge.session.status import FILE, GuestStatus, Status, read_status, write_status
from tests.brokers import free_port
from tests.bundles import make_bundle
from tests.edge.fake_qemu import FakeQemu


def config(folder: Path, more: str = "", guest: str = 'qmp = "qmp"\n') -> Path:
    path = folder / "edge.toml"
    path.write_text(
        f'[broker]\nurl = "mqtt://127.0.0.1:{free_port()}"\n[bundle]\nstate = "state"\n[outbox]\nfile = "o"\n'
        f'{more}\n[[guest]]\nid = "g"\n{guest}'
    )
    return path


def steps(path: Path) -> dict[str, Step]:
    """The first of each name: notes on what is missing of it follow."""
    found: dict[str, Step] = {}
    for step in _steps(path):
        found.setdefault(step.name, step)
    return found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FLOWS_S", 0.2)
    monkeypatch.setattr("edge.collectors.proc._PATIENCE_S", 0.1)


def test_a_bare_machine_is_told_all_that_is_missing_on_one_screen(tmp_path: Path) -> None:
    found = steps(config(tmp_path, "[netflow]\n", 'qmp = "qmp"\nfeed = "f"\naddresses = ["10.0.0.1"]\n'))
    faults = {name for name, step in found.items() if step.verdict == "fault"}
    assert faults == {"g qmp", "g proc", "g guest", "bundle", "broker TCP"}
    assert all(step.remedy for step in found.values() if step.verdict != "ok")
    assert len(found) <= 24
    assert found["bundle"].remedy.startswith("edge install")
    assert "nothing came in" in found["netflow"].found
    assert found["agent"].verdict == "note"


def test_without_a_configuration_it_says_so_with_status_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge.cli", "doctor", "--config", str(tmp_path / "none.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "copy firmware-config/edge.toml there, and adapt it" in done.stdout
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert {step["name"]: step["verdict"] for step in json.loads(done.stdout)}["config"] == "fault"


def test_what_works_is_said_with_its_figures(tmp_path: Path, schema: FeatureSchema, signing_key: Path) -> None:
    qemu = FakeQemu(tmp_path / "qmp")
    bundle = make_bundle(tmp_path, schema, signing_key, 0)
    path = config(tmp_path)
    text = path.read_text().replace('state = "state"', f'file = "{bundle}"\ntrust = "{signing_key.parent}"')
    path.write_text(text)
    with opened(tmp_path / "o") as box:
        box.put(source="s", event_id="1", topic="t", qos=1, retain=False, payload=b"x")
    found = steps(path)
    qemu.close()
    assert found["g qmp"].verdict == "ok"
    assert " rows in 1.5 s, " in found["g qmp"].found
    assert "signed; its golden vectors come out" in found["bundle"].found
    assert found["outbox"].found.startswith("1 events wait in")
    assert found["g proc"].verdict == "ok"  # of this very process
    assert found["g proc"].found.endswith("ms late") or "ms each" in found["g proc"].found


def test_a_fault_of_the_configuration_is_its_line(tmp_path: Path) -> None:
    found = steps(config(tmp_path, guest='qmpp = "x"\n'))
    assert "edge.toml:10: unknown key `qmpp`" in found["config"].found


def test_a_clock_that_is_not_set_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.doctor.machine.time.time_ns", lambda: 5_000_000_000)
    assert machine.clock().verdict == "fault"


def test_datagrams_of_strangers_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket
    import threading

    monkeypatch.setattr(sources, "FLOWS_S", 1.0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = config(tmp_path, f'[netflow]\nlisten = "127.0.0.1:{port}"\nexporters = ["10.0.0.1"]\n')

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(60):
                sender.sendto(b"x", ("127.0.0.1", port))
                if stopped.wait(0.1):
                    return

    stopped = threading.Event()
    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    found = steps(path)["netflow"]
    stopped.set()
    thread.join()
    assert found.verdict == "fault"
    assert found.remedy == "name them in exporters"


def test_an_agent_that_runs_tells_its_sources_itself(tmp_path: Path) -> None:
    import os

    guest = GuestStatus(id="g", windows=3, up=["qmp"], down={"guest": "away; bring it back"}, drifted=None)
    status = Status(pid=os.getpid(), node="n", at_s=time.time(), broker="connected", outbox_depth=2, guests=[guest])
    write_status(tmp_path / "state", status)
    found = steps(config(tmp_path))
    assert found["g qmp"].found == "up, says the agent"
    assert (found["g guest"].found, found["g guest"].remedy) == ("away", "bring it back")
    assert status.sentence == "watching g; g without guest; broker: connected"


def test_edge_status_says_what_runs_and_what_has_drifted(tmp_path: Path, signing_key: Path) -> None:
    import os

    guests = [
        GuestStatus(id=name, windows=3, up=["qmp"], down={}, drifted=drifted)
        for name, drifted in (("far", {"proc.rss": 1.5, "qmp.read_ops": 0.3}), ("near", {}), ("new", None))
    ]
    write_status(
        tmp_path, Status(pid=os.getpid(), node="n", at_s=time.time(), broker="connected", outbox_depth=0, guests=guests)
    )
    command = [sys.executable, "-m", "edge.cli", "status", "--state", str(tmp_path), "--trust", str(signing_key.parent)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert "running   watching far, near, new; broker: connected" in said
    assert "drift     far: far from the training side: proc.rss 1.50, qmp.read_ops 0.30" in said
    assert "drift     near: no channel is far from the training side" in said
    assert "drift     new: not enough windows yet" in said


def test_the_status_of_an_agent_that_ended_is_none(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    status = Status(pid=process.pid, node="n", at_s=time.time(), broker="b", outbox_depth=0, guests=[])
    write_status(tmp_path, status)
    assert read_status(tmp_path) is None
    (tmp_path / FILE).write_text("{")
    assert read_status(tmp_path) is None


@pytest.mark.parametrize(("pid", "old_s"), [(1, 600), (1 << 40, 0), (0, 0), (-1, 0)])
def test_a_status_that_a_power_cut_left_is_none(tmp_path: Path, pid: int, old_s: float) -> None:
    at = time.time() - old_s
    write_status(tmp_path, Status(pid=pid, node="n", at_s=at, broker="b", outbox_depth=0, guests=[]))
    assert read_status(tmp_path) is None
