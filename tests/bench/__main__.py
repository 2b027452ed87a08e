"""`make bench`: ratios against named peers, each pair measured in one run on the bundled recordings.

    python -m tests.bench [--out build/bench] [--only corpus|models|delivery] [--episodes 5000]

Prints one line per figure; machines are noisy, so nothing here is a test.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.metrics import f1_score

from contracts.bundle.keys import generate_key, load_trusted_keys
from contracts.features.schema import feature_schema
from contracts.telemetry.episode import read_episode
from contracts.vocabulary import PHASES
from edge import scores
from edge.deliver.outbox import opened
from edge.extract import Extractor, summarise, window_ends
from edge.feeds.replay import replay
from edge.model.models import Fixed
from edge.model.opened import activate
from edge.watch.agent import Agent
from edge.watch.health import Health
from tests.bench.alarm import bench_alarm
from tests.bench.artifacts import bench_artifacts
from tests.bench.corpus import bench_corpus
from tests.bench.deliver import bench_delivery
from tests.bench.fits import bench_fits
from tests.recordings import ONE, columns_of_episode, few

SCHEMA = feature_schema()


def median_ms(work: Callable[[], object], times: int) -> float:
    """Median of repeated calls, in ms."""
    work()
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return float(np.median(took)) * 1000


def line(what: str, ours: float, peer: str, theirs: float) -> None:
    print(f"{what}: {ours:.4g} ms; {peer}: {theirs:.4g} ms; ratio {ours / theirs:.3g}", flush=True)


def bench_agent(out: Path) -> None:
    """One window from rows to the outbox, against the bare runtime in the same process."""
    trust = load_trusted_keys(out / "keys")
    episode = read_episode(ONE)
    for name in ("gbt-realistic", "cnn-realistic"):
        (path,) = (out / "bundles").glob(f"{name}-*.bundle")
        active = activate(path, SCHEMA, trust)
        columns = columns_of_episode(episode, SCHEMA)
        ends = window_ends(episode.manifest.started_wall_ns, episode.manifest.ended_wall_ns, SCHEMA)[:1]
        tensor = Extractor(SCHEMA).extract(columns, ends).tensor[:, active.channels]
        window = summarise(tensor, SCHEMA)[0] if name.startswith("gbt") else tensor[0]
        health = Health()
        with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "outbox") as outbox:
            for _ in range(5):
                replay(Agent(Fixed(active), SCHEMA, node="n", outbox=outbox, health=health), episode, SCHEMA, None)
        total = health.total.take().p50 or 0.0
        bare = median_ms(functools.partial(active.runtime.predict, window), 500)
        print(f"agent {name}, rows to outbox: {total:.4g} ms; {active.runtime.name}: {bare:.4g} ms; "
              f"difference {total - bare:.4g} ms", flush=True)  # fmt: skip


def bench_bootstrap() -> None:
    """10,000 paired replicates over 100,000 windows, against a scikit-learn loop (20 replicates, scaled)."""
    rng = np.random.default_rng(0)
    truth, episode = rng.integers(0, len(PHASES), 100_000), np.repeat(np.arange(1000), 100)
    decided = np.where(rng.random(100_000) < 0.8, truth, rng.integers(0, len(PHASES), 100_000))

    other = np.where(rng.random(100_000) < 0.7, truth, rng.integers(0, len(PHASES), 100_000))

    def ours() -> None:
        both = np.stack([scores.confusions(truth, one, episode, len(PHASES)) for one in (decided, other)])
        scores.bootstrap(both, seed=0, replicates=10_000)

    def loop() -> None:
        for counts in rng.multinomial(1000, np.full(1000, 1e-3), size=20):
            rows = np.repeat(np.arange(100_000), counts[episode])
            for one in (decided, other):
                f1_score(truth[rows], one[rows], average="macro")

    line("bootstrap", median_ms(ours, 3), "scikit-learn loop", median_ms(loop, 1) * 500)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    parser.add_argument("--only", choices=("corpus", "models", "delivery"), help="one part of it")
    parser.add_argument("--episodes", type=int, default=5000, help="size of the large store (default: 5000)")
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    if options.only in (None, "delivery"):
        bench_delivery()
    if options.only in (None, "corpus"):
        bench_corpus(out, (max(options.episodes // 10, 250), options.episodes))
    if options.only in (None, "models"):
        bench_models(out)


def bench_models(out: Path) -> None:
    """Build once, measure."""
    key = out / "keys" / "bench.key"
    if not key.exists():
        generate_key(key)
    from trainer.cli import main as trainer

    began = time.perf_counter()
    store = out / "store"
    if not store.exists():
        few(store)
    status = trainer(["build", str(store), "--out", str(out), "--quick", "--key", str(key)])
    if status:
        sys.exit(status)
    print(f"trainer build --quick, twelve models, what was there already kept: {time.perf_counter() - began:.0f} s")
    bench_agent(out)
    bench_alarm()
    bench_artifacts(out)
    bench_bootstrap()
    bench_fits(out)


if __name__ == "__main__":
    main()
