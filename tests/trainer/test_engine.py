"""Engines: this process, processes, and a real Dask scheduler, one of whose workers is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from contracts.errors import ConfigError, WorkError
from contracts.features.schema import FeatureSchema
from tests.brokers import free_port
from tests.recordings import some
from trainer.extraction.extract import Extraction, extract_store
from trainer.workers import engine as module
from trainer.workers.engine import Engine, Lost
from trainer.workers.start import engine

ROOT = Path(__file__).parents[2]


def square(number: int) -> int:
    return number * number


def fragile(path: str) -> str:
    """Dies on "die"; on "once:FILE" dies unless FILE is there."""
    kind, _, mark = path.partition(":")
    if kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "once" and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path.upper()


@pytest.mark.parametrize("workers", [1, 2])
def test_run_gives_each_item_its_result(workers: int) -> None:
    with engine(workers) as made:
        assert dict(made.run(square, range(40))) == {number: number * number for number in range(40)}


@pytest.mark.parametrize("workers", [1, 2])
def test_run_raises_what_the_work_raised(workers: int) -> None:
    with engine(workers) as made, pytest.raises(ValueError, match="invalid literal"):
        list(made.run(int, ["1", "x"]))


def test_run_takes_no_more_from_its_source_than_it_can_hand_out() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in range(10_000):
            taken.append(number)
            yield number

    with engine(2) as made:
        results = made.run(square, source())
        next(results)
        assert len(taken) <= 3 * 2 + 2


def test_run_loses_only_the_task_that_kills_its_worker(tmp_path: Path) -> None:
    items = [f"a{i}" for i in range(10)] + ["die", f"once:{tmp_path / 'mark'}"] + [f"b{i}" for i in range(10)]
    with engine(2) as made:
        found = dict(made.run(fragile, items))
    assert found.pop("die") == Lost("die")
    assert found == {item: item.upper() for item in items if item != "die"}


def test_run_survives_a_pool_that_breaks_while_a_result_is_looked_at(tmp_path: Path) -> None:
    items = ["a", f"once:{tmp_path / 'mark'}", *(f"b{i}" for i in range(20))]
    with engine(2) as made:
        found = []
        for item, result in made.run(fragile, items):
            time.sleep(0.05)
            found.append((item, result))
    assert dict(found) == {item: item.upper() for item in items}
    assert len(found) == len(items)


@pytest.mark.slow
def test_cluster_whose_scheduler_dies_ends_in_one_line(tmp_path: Path) -> None:
    from tests.sweeping import many

    many(tmp_path / "store", 400)
    with cluster() as dask:
        command = [sys.executable, "-m", "trainer.cli", "validate", str(tmp_path / "store"), "--cluster", dask.address]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        assert process.stderr
        for line in process.stderr:
            if "100/400" in line:
                break
        dask.scheduler.kill()
        _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "the engine: gave the work up; expected an answer; see whether its scheduler lives" in said
    assert "Traceback" not in said.replace("Traceback (most recent call last):\n  File", "", 0).split("trainer: ")[-1]
    assert (tmp_path / "store" / "index.parquet").exists()


class Cluster:
    """A real scheduler and two worker processes on free loopback ports."""

    def __init__(self, stack: ExitStack) -> None:
        port = free_port()
        self.address = f"tcp://127.0.0.1:{port}"
        dask = [sys.executable, "-m", "dask"]
        scheduler = [*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
        worker = [*dask, "worker", self.address, "--nworkers", "1", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        commands = [scheduler, [*worker, "--name", "one"], [*worker, "--name", "two"]]
        processes = [
            stack.enter_context(subprocess.Popen(c, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            for c in commands
        ]
        for process in processes:
            stack.callback(process.kill)
        self.scheduler, *self.workers = processes
        from distributed import Client

        with Client(self.address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)


@contextmanager
def cluster() -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(stack)


@pytest.mark.slow
def test_cluster_gives_the_same_bytes_as_one_worker_though_one_is_killed(tmp_path: Path, schema: FeatureSchema) -> None:
    """Two real worker processes; one is killed when the first of many shards is done."""
    store = some(tmp_path / "store")
    alone = Extraction(store=store, out=tmp_path / "alone", schema=schema, shard_bytes=1 << 20)
    with engine(1) as made:
        extract_store(alone, made)
    with cluster() as dask, engine(1, dask.address) as made:
        assert made._ahead == 2 * module.IN_FLIGHT
        results = made.run

        def run_and_kill(work, items):  # type: ignore[no-untyped-def] # stands in for a generic method
            for number, pair in enumerate(results(work, items)):
                if number == 1 and "extract_shard" in str(work):
                    dask.workers[0].kill()
                    dask.workers[0].wait()
                yield pair

        made.run = run_and_kill  # type: ignore[method-assign] # the real engine, with a murder in the middle
        extract_store(Extraction(store=store, out=tmp_path / "dask", schema=schema, shard_bytes=1 << 20), made)
    assert dask.workers[0].returncode == -signal.SIGKILL
    files = {path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone").rglob("*") if path.is_file()}
    assert len(files) > 20
    for name in files:
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "dask" / name).read_bytes(), name


@pytest.mark.slow
def test_cluster_is_refused_when_a_worker_speaks_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    with cluster() as dask:
        monkeypatch.setattr("trainer.versions.code_digest", lambda *_: "f" * 64)
        with (
            pytest.raises(
                ConfigError, match=r"worker tcp://\S+: code [0-9a-f]{12}…; expected code f{12}…; install this"
            ),
            engine(1, dask.address),
        ):
            pass


@pytest.mark.slow
def test_cluster_is_refused_when_a_folder_is_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with cluster() as dask, engine(1, dask.address) as made:
        made.require_shared(tmp_path, written=True)
        with pytest.raises(ConfigError, match="does not see it"):
            made.require_shared(tmp_path / "nowhere", written=False)
        monkeypatch.setattr(made, "_everywhere", lambda *_: {"tcp://elsewhere": False})
        with pytest.raises(ConfigError, match="worker tcp://elsewhere does not see it; expected storage that"):
            made.require_shared(tmp_path, written=False)


def test_cluster_that_is_not_there_is_refused_in_one_line() -> None:
    with (
        pytest.raises(WorkError, match=r"tcp://127\.0\.0\.1:1: no answer .*; expected a Dask scheduler; start one"),
        engine(1, "tcp://127.0.0.1:1"),
    ):
        pass


def test_interrupt_ends_the_command_without_a_traceback(tmp_path: Path) -> None:
    from tests.sweeping import many

    many(tmp_path / "store", 200)
    command = [sys.executable, "-m", "trainer.cli", "validate", str(tmp_path / "store"), "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True)
    assert process.stderr
    assert "validate: 200 steps" in process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert re.search(r"trainer: stopped\n$", said)


def test_engine_is_generic_over_executors() -> None:
    """The seam is `concurrent.futures.Executor` and nothing else."""
    from concurrent.futures import ThreadPoolExecutor

    made = Engine(lambda: ThreadPoolExecutor(2), 2, ())
    assert dict(made.run(square, range(9))) == {number: number * number for number in range(9)}
    made.close()
