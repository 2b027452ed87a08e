"""What listening over time costs: the filter and the old rule on the same windows, and whether a window is familiar."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from contracts.bundle.filter import Filter
from contracts.features.schema import SECOND
from contracts.vocabulary import PHASES
from edge.alarm import Seen, alarm_of
from edge.familiar import nearest, p_values, standardised

WINDOWS = 20_000


def bench_alarm() -> None:
    """Microseconds a window, the median of five runs."""
    rng = np.random.default_rng(0)
    k = len(PHASES)
    spec = Filter(
        start=(1.0 / k,) * k,
        transitions=tuple(map(tuple, rng.dirichlet(np.ones(k), k).tolist())),
        stride_ns=5 * SECOND,
        raise_at=7.0,
        clear_below=0.0,
        budget_per_day=1.0,
        clean_hours=1.0,
        false_alarms=0,
        supported_per_day=72.0,
    )
    windows = [Seen(i * spec.stride_ns, p, int(p.argmax())) for i, p in enumerate(_said(rng, k))]

    def run(one: Filter | None) -> float:
        took = []
        for _ in range(5):
            alarm = alarm_of(one, PHASES)
            began = time.perf_counter()
            for window in windows:
                alarm.see(window)
            took.append(time.perf_counter() - began)
        return float(np.median(took)) / WINDOWS * 1e6

    ours, old = run(spec), run(None)
    print(
        f"alarm, filter: {ours:.3g} us a window (bar: 20); two in a row: {old:.3g} us; ratio {ours / old:.3g}",
        flush=True,
    )
    centres, levels = rng.normal(size=(240, 36)), rng.normal(size=(WINDOWS // 20, 1, 36))
    tuned, zero, one = np.sort(rng.random(1000)), np.zeros(36), np.ones(36)
    began = time.perf_counter()
    for level in levels:
        p_values(nearest(standardised(level, zero, one), centres)[0], tuned)
    print(f"unfamiliar: {(time.perf_counter() - began) / len(levels) * 1e6:.3g} us a window", flush=True)


def _said(rng: np.random.Generator, k: int) -> NDArray[np.float32]:
    return rng.dirichlet(np.ones(k), WINDOWS).astype(np.float32)


if __name__ == "__main__":
    bench_alarm()
