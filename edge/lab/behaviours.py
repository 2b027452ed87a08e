"""What an infected guest does, phase by phase: six profiles, each in variants whose parameters are drawn from ranges.

All of it is benign: a loop that burns CPU, scratch files on the guest's own disk, connections to our own sink.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from contracts.vocabulary import PROFILES, Phase
from edge.lab.places import ANSWERED, HOST, UNANSWERED
from edge.lab.walk import Stay, log_uniform
from edge.lab.works import Works

Parameters = Mapping[str, int]
RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "cpu-saturate": {
        "duty": (55, 100),
        "period": (40, 400),
        "procs": (1, 2),
        "report_s": (8, 60),
        "report_up": (150, 900),
    },
    "io-walk": {"files": (40, 400), "kb": (16, 192), "every": (20, 160), "write": (30, 90), "sync": (0, 60)},
    "bursty-c2": {"every": (3000, 18000), "jitter": (10, 60), "count": (2, 8), "up": (200, 4000), "down": (400, 20000)},
    "scan-and-dial": {
        "every": (8, 70),
        "hosts": (60, 250),
        "ports": (2, 6),
        "timeout": (300, 1500),
        "answered": (10, 60),
    },
    "low-and-slow": {"every": (7000, 40000), "jitter": (20, 60), "up": (15000, 120000), "kbs": (4, 20), "duty": (2, 8)},
    "bulk-upload": {"every": (200, 3000), "up": (200000, 2500000), "kbs": (80, 600), "read": (40, 400)},
}
"""Of a variant's parameters, drawn on a log scale. Times in ms, sizes in bytes or kB, shares in percent."""
assert tuple(RANGES) == PROFILES


def variant(profile: str, sample: str) -> dict[str, int]:
    """The parameters of one variant, the same wherever it occurs."""
    draw = random.Random(f"{profile}/{sample}")  # noqa: S311 - a plan, not a secret
    return {name: round(log_uniform(draw, max(1.0, low), high)) for name, (low, high) in RANGES[profile].items()}


def infected(works: Works, stays: list[Stay], profile: str, parameters: Parameters) -> None:
    """Lay a walk's phases on an episode's time."""
    for stay in stays:
        if stay.phase == "infected_running":
            _RUNNING[profile](works, stay, parameters)
        elif stay.phase in _OTHERWISE:
            _OTHERWISE[stay.phase](works, stay)


def _armed(works: Works, stay: Stay) -> None:
    """Something is delivered and written; then it waits, and may knock now and then."""
    draw, began = works.draw, stay.since_ms
    size, kbs = round(log_uniform(draw, 20_000, 900_000)), draw.randrange(80, 600)
    took = 1500 + size // kbs
    if began >= works.first_ms:  # else it was delivered before we came
        works.run("net", began, began + took, to=HOST, port=works.ports.delivery, down=size, kbs=kbs, once=1)
        works.run(
            "files", began + took, began + took + 700, files=1, kb=max(1, size // 1000), write=100, sync=100, every=5000
        )
    if draw.random() < 0.5:
        works.run("udp", began + 2 * took, stay.until_ms, to=HOST, port=works.ports.control_udp, up=draw.randrange(40,
                  200), every=round(1000 * log_uniform(draw, 12, 60)), jitter=40)  # fmt: skip


def _infecting(works: Works, stay: Stay) -> None:
    """Bursts of unpacking, short processes and connections, one after the other."""
    draw, at = works.draw, stay.since_ms
    while at < stay.until_ms:
        until = min(stay.until_ms, at + round(1000 * log_uniform(draw, 0.8, 6)))
        for kind in draw.sample(["unpack", "spawn", "call", "fetch", "look"], draw.randrange(1, 4)):
            if kind == "unpack":
                works.run("cpu", at, until, duty=draw.randrange(50, 101), every=100)
                works.run("files", at, until, files=draw.randrange(20, 200), kb=draw.randrange(4, 64), write=100,
                          sync=draw.randrange(0, 40), every=draw.randrange(15, 120))  # fmt: skip
            elif kind == "spawn":
                works.run("spawn", at, until, count=draw.randrange(1, 6), cpu=draw.randrange(2, 25),
                          every=draw.randrange(60, 500))  # fmt: skip
            elif kind == "call":
                works.run("net", at, until, to=HOST, port=works.ports.control, up=draw.randrange(100, 3000),
                          down=draw.randrange(100, 9000), count=draw.randrange(1, 4), every=draw.randrange(300, 2500),
                          jitter=40)  # fmt: skip
            elif kind == "fetch":
                works.run("net", at, until, to=HOST, port=works.ports.delivery, down=draw.randrange(30_000, 600_000),
                          kbs=draw.randrange(80, 600), once=1)  # fmt: skip
            else:
                works.run("scan", at, until, to=ANSWERED, hosts=draw.randrange(4, 40), ports=works.ports.scanned[:1],
                          every=draw.randrange(80, 400), timeout=500)  # fmt: skip
        at = until + round(1000 * log_uniform(draw, 0.2, 4))


def _dormant(works: Works, stay: Stay) -> None:
    """Quiet, or a rare sign of life."""
    draw = works.draw
    if draw.random() < 0.65:
        works.run("net", stay.since_ms + draw.randrange(500, 8000), stay.until_ms, to=HOST, port=works.ports.control,
                  up=draw.randrange(60, 600), down=draw.randrange(40, 300),
                  every=round(1000 * log_uniform(draw, 10, 60)), jitter=draw.randrange(5, 50))  # fmt: skip


def _cpu_saturate(works: Works, stay: Stay, p: Parameters) -> None:
    works.run("cpu", stay.since_ms, stay.until_ms, duty=min(100, works.near(p["duty"])), procs=p["procs"],
              every=works.near(p["period"]))  # fmt: skip
    works.run("net", stay.since_ms, stay.until_ms, to=HOST, port=works.ports.control, up=works.near(p["report_up"]),
              down=works.near(200), every=1000 * works.near(p["report_s"]), jitter=30)  # fmt: skip


def _io_walk(works: Works, stay: Stay, p: Parameters) -> None:
    works.run("files", stay.since_ms, stay.until_ms, files=works.near(p["files"]), kb=works.near(p["kb"]),
              write=min(100, works.near(p["write"])), sync=p["sync"], every=works.near(p["every"]),
              jitter=50)  # fmt: skip


def _bursty_c2(works: Works, stay: Stay, p: Parameters) -> None:
    every = works.near(p["every"])
    works.run("net", stay.since_ms, stay.until_ms, to=HOST, port=works.ports.control, count=p["count"],
              up=works.near(p["up"]), down=works.near(p["down"]), every=every, jitter=p["jitter"])  # fmt: skip
    works.run(
        "spawn", stay.since_ms, stay.until_ms, count=p["count"], cpu=works.near(20), every=every, jitter=p["jitter"]
    )


def _scan_and_dial(works: Works, stay: Stay, p: Parameters) -> None:
    share = p["answered"] / 100
    for base, part in ((ANSWERED, share), (UNANSWERED, 1 - share)):
        every = max(5, round(works.near(p["every"]) / part))
        works.run("scan", stay.since_ms, stay.until_ms, to=base, hosts=p["hosts"],
                  ports=works.ports.scanned[: p["ports"]], every=every, jitter=60, timeout=p["timeout"])  # fmt: skip
    works.run("net", stay.since_ms, stay.until_ms, to=HOST, port=works.ports.control, up=works.near(300),
              down=works.near(100), every=works.near(9000), jitter=40)  # fmt: skip


def _low_and_slow(works: Works, stay: Stay, p: Parameters) -> None:
    works.run("net", stay.since_ms, stay.until_ms, to=HOST, port=works.ports.upload, up=works.near(p["up"]),
              kbs=works.near(p["kbs"]), every=works.near(p["every"]), jitter=p["jitter"])  # fmt: skip
    works.run("cpu", stay.since_ms, stay.until_ms, duty=works.near(p["duty"]), every=works.near(900))


def _bulk_upload(works: Works, stay: Stay, p: Parameters) -> None:
    works.run("net", stay.since_ms, stay.until_ms, to=HOST, port=works.ports.upload, up=works.near(p["up"]),
              kbs=works.near(p["kbs"]), every=works.near(p["every"]), jitter=40)  # fmt: skip
    works.run(
        "files",
        stay.since_ms,
        stay.until_ms,
        files=24,
        kb=works.near(96),
        write=0,
        every=works.near(p["read"]),
        jitter=50,
    )


_RUNNING: dict[str, Callable[[Works, Stay, Parameters], None]] = {
    "cpu-saturate": _cpu_saturate,
    "io-walk": _io_walk,
    "bursty-c2": _bursty_c2,
    "scan-and-dial": _scan_and_dial,
    "low-and-slow": _low_and_slow,
    "bulk-upload": _bulk_upload,
}
_OTHERWISE: dict[Phase, Callable[[Works, Stay], None]] = {
    "armed": _armed,
    "infecting": _infecting,
    "dormant": _dormant,
}
"""What all profiles have in common; a clean guest does everyday work alone."""
