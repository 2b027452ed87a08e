"""The corpus at its real size, against named peers: sweep, extraction, summaries, the lazy loader.

The sweep's peer is the least that could be done: SHA-256 of the stored bytes, decompression, and a bare msgspec typed
decode of every row, in a loop without anything else. Best of several runs each, taken in turns.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from backports import zstd

from contracts.features.schema import feature_schema
from contracts.files import sha256
from contracts.telemetry.episode import find_episodes
from contracts.telemetry.lines import _decoders
from edge.extract import Extractor, summarise
from tests.bench.store import make_store
from tests.recordings import CORPUS, ORDERED
from trainer.dataset.arrow import write_shard
from trainer.dataset.open import open_dataset
from trainer.dataset.samples import joined
from trainer.extraction.one_shard import Input, extract_episode
from trainer.sweep.catalogue import read_index
from trainer.sweep.examine import examine

SCHEMA = feature_schema()
EXTRACTOR = Extractor(SCHEMA)
FULL_STORE = 76_660
"""Episodes in the store that the system was born from."""


def best(works: dict[str, Callable[[], object]], times: int = 9) -> dict[str, float]:
    """Seconds of the best run of each, taken in turns."""
    took: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(times):
        for name, work in works.items():
            gc.collect()
            began = time.perf_counter()
            work()
            took[name].append(time.perf_counter() - began)
    return {name: min(some) for name, some in took.items()}


def bare(episodes: list[Path], *, hashed: bool) -> None:
    """The peer."""
    for folder in episodes:
        for path in folder.glob("*.zst"):
            stored = path.read_bytes()
            if hashed:
                sha256(stored)
            _decoders[path.name.partition(".")[0]].decode_lines(zstd.decompress(stored))


def bench_sweep_and_extraction() -> None:
    """One core, in this process, over every sixth of the bundled recordings."""
    episodes = find_episodes(CORPUS)[::6]
    inputs = [Input.of(examine(folder)) for folder in episodes]

    def extract(folder: Path) -> None:
        tables = [extract_episode(path, EXTRACTOR, one) for path, one in zip(episodes, inputs, strict=True)]
        write_shard(folder / "shard.arrow", joined(tables), SCHEMA, "bench")

    with tempfile.TemporaryDirectory() as name:
        took = best(
            {
                "validate": lambda: [examine(folder) for folder in episodes],
                "hash, decompress, decode": functools.partial(bare, episodes, hashed=True),
                "extract": functools.partial(extract, Path(name)),
                "decompress, decode": functools.partial(bare, episodes, hashed=False),
            }
        )
    for ours, peer in (("validate", "hash, decompress, decode"), ("extract", "decompress, decode")):
        a, b = took[ours] / len(episodes) * 1000, took[peer] / len(episodes) * 1000
        print(f"{ours}: {a:.2f} ms/episode; {peer}: {b:.2f} ms/episode; ratio {a / b:.2f}", flush=True)


def bench_summaries() -> None:
    """Six statistics per channel over the same windows, by tsflex (its numpy functions, one process)."""
    if importlib.util.find_spec("tsflex") is None:  # its 0.4 is for Python up to 3.12
        print("summaries: NOT measured against tsflex, which has no release for this Python", flush=True)
        return
    import pandas as pd
    from tsflex.features import FeatureCollection, MultipleFeatureDescriptors

    inputs = [(folder, Input.of(examine(folder))) for folder in find_episodes(ORDERED)[:8]]
    tensor = np.concatenate([extract_episode(folder, EXTRACTOR, one).tensor for folder, one in inputs])
    ours = best({"ours": lambda: summarise(tensor, SCHEMA)})["ours"] / len(tensor)

    some = tensor[:40]
    time_s = np.arange(SCHEMA.steps) * 0.1
    spread = np.sum((time_s - time_s.mean()) ** 2)

    def slope(x: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        return float(np.sum((x - x.mean()) * time_s) / spread)

    def roughness(x: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        return float(np.mean(np.abs(np.diff(x))))

    names = list(SCHEMA.channel_ids)
    line = some.transpose(0, 2, 1).reshape(-1, len(names)).astype(np.float64)
    frame = pd.DataFrame(line, columns=names, index=pd.RangeIndex(len(line)))
    functions = [np.mean, np.std, np.min, np.max, slope, roughness]
    features = FeatureCollection(MultipleFeatureDescriptors(functions, names, windows=100, strides=100))
    calculate = functools.partial(features.calculate, frame, n_jobs=1, return_df=True, include_final_window=True)
    theirs = best({"tsflex": calculate}, 3)["tsflex"] / len(some)
    found = calculate().to_numpy()
    assert found.shape == (len(some), len(names) * 6)
    print(
        f"summaries: {1 / ours:,.0f} windows/s; tsflex: {1 / theirs:,.0f} windows/s; ratio {theirs / ours:.0f}x",
        flush=True,
    )


def bench_lazy(folder: Path) -> None:
    """Shuffled batches, against one sequential copy of the mapped tensors."""
    dataset = open_dataset(folder)
    size = sum(shard.tensor.nbytes for shard in dataset.shards)
    buffer = np.empty(max(shard.tensor.nbytes for shard in dataset.shards), np.uint8)

    def copy() -> None:
        for shard in dataset.shards:
            flat = shard.tensor.reshape(-1).view(np.uint8)
            np.copyto(buffer[: flat.nbytes], flat)

    def lazy() -> None:
        for _ in dataset.load_tensor_lazy(batch=256, seed=1):
            pass

    took = best({"lazy": lazy, "memcpy": copy}, 5)
    rates = {name: size / seconds / 1e9 for name, seconds in took.items()}
    print(
        f"lazy loader: {rates['lazy']:.2f} GB/s over {size / 1e6:.0f} MB in {len(dataset.shards)} shards; "
        f"memcpy of the mapped files: {rates['memcpy']:.2f} GB/s; ratio {rates['lazy'] / rates['memcpy']:.2f}",
        flush=True,
    )


def bench_large_store(folder: Path, sizes: tuple[int, ...]) -> None:
    """Sweeps of stores with planted defects: exact, how fast, how much memory; and a dataset of the largest."""
    peaks = {}
    for size in sizes:
        store = folder / f"store-{size}"
        planted = make_store(store, size, 4)
        seconds: dict[int, float] = {}
        for workers in (1, 2):
            seconds[workers], peaks[size, workers] = command(
                "validate", store, "--full", "--workers", workers, "--out", folder / f"{size}.parquet"
            )
        found = {
            finding.path: (finding.verdict, sorted({reason.code for reason in finding.reasons}))
            for finding in read_index(folder / f"{size}.parquet")
        }
        assert found == planted.found, "the sweep did not find exactly what was planted"
        again, _ = command("validate", store, "--out", folder / f"{size}.parquet")
        rates = ", ".join(f"{len(found) / s:,.0f} episodes/s on {w}" for w, s in seconds.items())
        print(
            f"sweep of {len(found)}: {dict(planted.verdicts)} found exactly, {sum(planted.codes.values())} reasons of "
            f"{len(planted.codes)} kinds; {rates}; nothing changed: {again:.1f} s",
            flush=True,
        )
        print(f"  {FULL_STORE:,} episodes at that rate on 2: {FULL_STORE / len(found) * seconds[2] / 60:.1f} min")
    for workers in (1, 2):
        small, large = (peaks[size, workers] for size in (sizes[0], sizes[-1]))
        print(
            f"memory, {workers} worker(s): {small / 1e3:.1f} MB at {sizes[0]}, {large / 1e3:.1f} MB at {sizes[-1]}; "
            f"ratio {large / small:.3f}",
            flush=True,
        )
    store = folder / f"store-{sizes[-1]}"
    took, peak = command("extract", store, "--out", folder / "dataset", "--include-degraded", "--workers", 2)
    dataset = open_dataset(folder / "dataset")
    size = sum(path.stat().st_size for path in (folder / "dataset").rglob("*.arrow"))
    print(
        f"extract with its sweep: {len(dataset):,} windows, {size / 1e9:.2f} GB in {took:.0f} s on 2, "
        f"peak {peak / 1e3:.0f} MB; projected to {FULL_STORE:,}: {FULL_STORE / sizes[-1] * took / 60:.0f} min, "
        f"{FULL_STORE / sizes[-1] * size / 1e9:.0f} GB",
        flush=True,
    )


def command(verb: str, *arguments: object) -> tuple[float, float]:
    """Run a command of the trainer: seconds, and the largest sum of resident sets of it and its workers, kB."""
    began, peak = time.perf_counter(), 0
    line = [sys.executable, "-m", "trainer.cli", verb, *map(str, arguments)]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(resident_kb, family(process.pid))))
            time.sleep(0.05)
    assert process.returncode in (0, 1), line
    return time.perf_counter() - began, peak


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def resident_kb(pid: int) -> int:
    """`VmRSS`."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1])
    return 0


def bench_corpus(out: Path, sizes: tuple[int, ...]) -> None:
    """All of it."""
    bench_sweep_and_extraction()
    bench_summaries()
    with tempfile.TemporaryDirectory(dir=out) as name:
        bench_large_store(Path(name), sizes)
        bench_lazy(Path(name) / "dataset")
