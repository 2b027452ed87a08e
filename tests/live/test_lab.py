"""The lab: a short real episode, recorded, swept and extracted; what goes wrong is said, and the plan goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import ConfigError, GuestError, MissingError
from contracts.features.schema import FeatureSchema
from contracts.telemetry.episode import read_episode
from edge.lab import run as runner
from edge.lab.plan import Planned, plan
from edge.lab.recipe import read_recipe
from edge.lab.run import Lab
from tests.live.lab import image
from tests.recordings import edit_manifest
from tests.trainer.conftest import extracted
from trainer.sweep.examine import examine

pytestmark = [pytest.mark.slow, pytest.mark.system]
RECIPE = """
name = "short"
episodes = {episodes}
everyday = 0.0
minutes = [{minutes}, {minutes}]
settle_s = [5, 6]
parallel = 2
[phases.clean]
seconds = [10, 20]
next = {{ infecting = 1 }}
[phases.infecting]
seconds = [10, 20]
next = {{ clean = 1 }}
[[host]]
id = "small"
machine = "microvm"
memory_mb = 96
cores = 0.8
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "guests"
    folder.mkdir()
    (folder / "amd64").symlink_to(image())
    return folder


def planned(tmp_path: Path, episodes: int = 1, minutes: float = 0.4) -> list[Planned]:
    (tmp_path / "recipe.toml").write_text(RECIPE.format(episodes=episodes, minutes=minutes))
    return plan(read_recipe(tmp_path / "recipe.toml"), 3)


def command(tmp_path: Path, images: Path, store: Path, *options: str) -> list[str]:
    return [
        sys.executable, "-m", "edge.cli", "lab", "run", "--recipe", str(tmp_path / "recipe.toml"), "--seed", "3",
        "--out", str(store), "--images", str(images), *options,
    ]  # fmt: skip


def test_an_episode_is_recorded_swept_and_extracted(
    tmp_path: Path, images: Path, schema: FeatureSchema, capfd: pytest.CaptureFixture[str]
) -> None:
    (one,) = planned(tmp_path)
    store = tmp_path / "store"
    done = subprocess.run(command(tmp_path, images, store), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{store}: 1 recorded, 0 were there, 0 failed" in done.stdout
    folder = store / "small" / one.episode_id
    finding = examine(folder)
    assert finding.verdict in ("accepted", "degraded"), finding.reasons
    assert {reason.source for reason in finding.reasons} <= {"netflow"}  # of four windows, one may doubt its flows
    episode = read_episode(folder)
    manifest = episode.manifest
    started = manifest.started_wall_ns
    for label, mark in zip(episode.labels, one.marks, strict=True):
        assert label.phase == mark.phase
        assert -1e6 <= label.t_wall_ns - started - mark.at_ms * 1e6 < 1e9  # a machine may be busy
    assert abs((manifest.ended_wall_ns - started) / 1e6 - one.length_ms) < 2000
    assert manifest.sample["plan_sha256"] == one.digest
    assert manifest.host["guest"]["cores"] == 0.8
    assert set(manifest.host["sampling"]) == {"proc", "qmp", "guest", "netflow"}
    assert manifest.host["beside"]["guests"] >= 1
    assert "faults" not in manifest.host
    assert len(extracted(store, tmp_path / "d", schema, degraded=True).load_ids().y) == finding.windows

    again = subprocess.run(command(tmp_path, images, store), capture_output=True, text=True, check=False)
    assert "0 recorded, 1 were there, 0 failed" in again.stdout
    edit_manifest(folder, lambda m: m["sample"].update(plan_sha256="0" * 64))
    with pytest.raises(ConfigError, match="recorded by another plan; expected this recipe, seed and version"):
        Lab(store=store, images=images, parallel=1).run([one])


def _pids(of: str, beside: str) -> Iterator[tuple[int, str]]:
    """Processes of this name whose parent records in this folder, and the parent's command: some rename themselves."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                name = (folder / "comm").read_text().strip()
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                words = Path(f"/proc/{parent}/cmdline").read_text()
            except OSError:
                continue
            if name.startswith(of) and "edge.lab.episode" in words and beside in words:
                yield int(folder.name), words


def test_a_dead_exporter_is_noted_a_dead_guest_fails_and_the_plan_goes_on(tmp_path: Path, images: Path) -> None:
    plans = planned(tmp_path, 3, 0.7)
    store, scratch = tmp_path / "store", Path(tempfile.mkdtemp(prefix="lab-"))
    process = subprocess.Popen(
        command(tmp_path, images, store, "--scratch", str(scratch)), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    first, second = (store / "small" / plans[i].episode_id for i in (0, 1))
    end = time.monotonic() + 120
    while not all((one / "recording.json").exists() for one in (first, second)):
        assert time.monotonic() < end
        time.sleep(0.2)
    works = {episode: next(work for work in scratch.iterdir() if episode in (work / "plan.json").read_text())
             for episode in (plans[0].episode_id, plans[1].episode_id)}  # fmt: skip
    ((guest, _),) = _pids("qemu", str(works[plans[1].episode_id]))
    os.kill(guest, signal.SIGKILL)
    ((exporter, _),) = _pids("pmacctd", str(works[plans[0].episode_id]))
    os.kill(exporter, signal.SIGKILL)
    out, said = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "2 recorded, 0 were there, 1 failed" in out
    assert f"small/{plans[1].episode_id}: not recorded: " in said
    assert "QEMU ended with -9" in said
    assert not second.exists()
    faults = read_episode(first).manifest.host["faults"]
    assert len(faults) == 1
    assert "the exporter ended and was started again" in faults[0]
    scratch.rmdir()  # nothing is left in it
    assert not [found for name in ("qemu", "pmacctd") for found in _pids(name, str(scratch))]


def test_a_full_disk_and_a_guest_that_hangs_leave_no_half_episode(tmp_path: Path, images: Path) -> None:
    (one,) = planned(tmp_path)
    store = tmp_path / "store"
    store.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24k", "none", str(store)], check=True)
    try:
        result = Lab(store=store, images=images, parallel=1).run([one])
        assert "No space left on device" in result.failed[one.episode_id]
        assert not list(store.glob("*/*/*"))
    finally:
        subprocess.run(["umount", str(store)], check=True)
    hanging = tmp_path / "hanging" / "amd64"
    hanging.mkdir(parents=True)
    (hanging / "kernel").symlink_to(image() / "kernel")
    (hanging / "initrd").write_bytes(b"no cpio")
    result = Lab(store=store, images=hanging.parent, parallel=1, boot_s=4).run([one])
    assert "no answer in 4 s; expected a guest that boots" in result.failed[one.episode_id]


def test_lab_says_what_it_lacks_before_anything_begins(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = planned(tmp_path)
    with pytest.raises(MissingError, match=r"kernel: no such file; expected the tiny guest for amd64; make lab-guests"):
        Lab(store=tmp_path / "s", images=tmp_path / "nowhere", parallel=1).run([one])
    lab = Lab(store=tmp_path / "s", images=images, parallel=1)
    monkeypatch.setattr(runner, "NAMESPACES", ("sh", "-c", "echo no rights >&2; exit 1", "sh"))
    with pytest.raises(GuestError, match="namespaces: no rights; expected the right to make them; run the lab as root"):
        lab.run([one])
    monkeypatch.setattr(runner, "PATH", "/nowhere")
    with pytest.raises(GuestError, match="ip: no such program; expected QEMU, iproute2"):
        lab.run([one])
    with pytest.raises(ConfigError, match="a path of 81 letters; expected 60 at most: sockets go there"):
        Lab(store=tmp_path / "s", images=images, parallel=1, work=Path("/" + 80 * "x")).run([one])
    assert not list((tmp_path / "s").glob("*/*"))


def test_lab_that_is_stopped_leaves_nothing_and_goes_on_later(tmp_path: Path, images: Path) -> None:
    plans = planned(tmp_path, 2)
    store = tmp_path / "store"
    process = subprocess.Popen(
        command(tmp_path, images, store, "--episodes", "1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    left = store / "small" / plans[0].episode_id
    end = time.monotonic() + 90
    while not (left / "recording.json").exists():
        assert time.monotonic() < end
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped: 0 recorded, 1 to go; run it again to go on" in said
    assert not left.exists()
    assert not list(_pids("qemu", str(store)))
