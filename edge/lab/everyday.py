"""What any guest does: a background that changes, and now and then a burst of everyday work. It knows no phase."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from edge.lab.places import HOST
from edge.lab.walk import log_uniform
from edge.lab.works import Works

ON_S, OFF_S = 120.0, 60.0
"""Each kind of background comes and goes after so long, on average."""


class Did(NamedTuple):
    """What was done, for the manifest: from ms to ms of the episode."""

    what: str
    since_ms: int
    until_ms: int


def background(works: Works) -> list[Did]:
    """One to four kinds, each on and off by chance."""
    draw, did = works.draw, []
    for kind in draw.sample(sorted(_BACKGROUND), draw.randrange(1, 5)):
        at = works.first_ms - round(1000 * draw.uniform(0, OFF_S if draw.random() < 0.4 else 0))
        while at < works.last_ms:
            until = at + round(1000 * max(15.0, draw.expovariate(1 / ON_S)))
            _BACKGROUND[kind](works, at, until)
            did.append(Did(kind, at, until))
            at = until + round(1000 * max(5.0, draw.expovariate(1 / OFF_S)))
    return did


def bursts(works: Works, mean_gap_s: float) -> list[Did]:
    """Packages, backups, downloads, compilers, checks for updates: by chance, so long apart on average."""
    draw, did = works.draw, []
    at = works.first_ms + round(1000 * draw.expovariate(1 / mean_gap_s))
    while at < works.last_ms:
        kind = draw.choice(sorted(_BURSTS))
        until = at + round(1000 * log_uniform(draw, 6, 60))
        _BURSTS[kind](works, at, until)
        did.append(Did(kind, at, until))
        at = until + round(1000 * draw.expovariate(1 / mean_gap_s))
    return did


def _web(works: Works, since: int, until: int) -> None:
    draw = works.draw
    works.run("net", since, until, to=HOST, port=works.ports.web, up=draw.randrange(200, 900), count=draw.randrange(1,
              5), down=round(log_uniform(draw, 2_000, 90_000)), every=round(1000 * log_uniform(draw, 3, 30)),
              jitter=70)  # fmt: skip


def _log(works: Works, since: int, until: int) -> None:
    draw = works.draw
    works.run("files", since, until, files=3, kb=draw.randrange(1, 9), write=100, sync=draw.randrange(0, 100),
              every=round(1000 * log_uniform(draw, 0.5, 6)), jitter=60)  # fmt: skip


def _cron(works: Works, since: int, until: int) -> None:
    draw = works.draw
    works.run("spawn", since, until, count=draw.randrange(1, 7), cpu=draw.randrange(3, 50),
              every=round(1000 * log_uniform(draw, 5, 60)), jitter=20)  # fmt: skip


def _clock(works: Works, since: int, until: int) -> None:
    works.run("udp", since, until, to=HOST, port=works.ports.time_udp, up=48,
              every=round(1000 * log_uniform(works.draw, 8, 64)), jitter=5)  # fmt: skip


def _telemetry(works: Works, since: int, until: int) -> None:
    draw = works.draw
    works.run("net", since, until, to=HOST, port=works.ports.telemetry, up=draw.randrange(100, 2500),
              down=draw.randrange(40, 300), every=round(1000 * log_uniform(draw, 8, 60)),
              jitter=draw.randrange(2, 40))  # fmt: skip


def _daemon(works: Works, since: int, until: int) -> None:
    draw = works.draw
    works.run("cpu", since, until, duty=draw.randrange(2, 12), every=draw.randrange(100, 1500))


def _package(works: Works, since: int, until: int) -> None:
    """Fetched, then unpacked."""
    draw = works.draw
    fetched = since + (until - since) // 3
    works.run("net", since, fetched, to=HOST, port=works.ports.web, down=round(log_uniform(draw, 300_000, 4_000_000)),
              kbs=draw.randrange(150, 800), once=1)  # fmt: skip
    works.run("cpu", fetched, until, duty=draw.randrange(40, 101), every=100)
    works.run("files", fetched, until, files=draw.randrange(50, 300), kb=draw.randrange(2, 48), write=100,
              sync=draw.randrange(0, 30), every=draw.randrange(15, 100))  # fmt: skip
    works.run("spawn", fetched, until, count=1, cpu=draw.randrange(2, 20), every=draw.randrange(200, 1500))


def _backup(works: Works, since: int, until: int) -> None:
    draw = works.draw
    works.run("files", since, until, files=draw.randrange(30, 200), kb=draw.randrange(16, 128), write=0,
              every=draw.randrange(20, 120))  # fmt: skip
    works.run("cpu", since, until, duty=draw.randrange(5, 40), every=100)
    works.run("net", since, until, to=HOST, port=works.ports.backup, up=round(log_uniform(draw, 500_000, 8_000_000)),
              kbs=draw.randrange(80, 600), every=3000)  # fmt: skip


def _download(works: Works, since: int, until: int) -> None:
    draw = works.draw
    works.run("net", since, until, to=HOST, port=works.ports.web, down=round(log_uniform(draw, 800_000, 12_000_000)),
              kbs=draw.randrange(150, 900), once=1)  # fmt: skip
    works.run("files", since, until, files=1, kb=256, write=100, sync=20, every=draw.randrange(300, 1500))


def _compile(works: Works, since: int, until: int) -> None:
    draw = works.draw
    works.run(
        "spawn", since, until, count=draw.randrange(1, 4), cpu=draw.randrange(30, 200), every=draw.randrange(80, 400)
    )
    works.run("files", since, until, files=draw.randrange(20, 150), kb=draw.randrange(2, 40), write=draw.randrange(30,
              70), every=draw.randrange(60, 400))  # fmt: skip


def _update(works: Works, since: int, until: int) -> None:
    draw = works.draw
    works.run("net", since, since + min(until - since, 9000), to=HOST, port=works.ports.web, up=400,
              count=draw.randrange(2, 6), down=draw.randrange(2_000, 60_000), every=draw.randrange(1500, 4000),
              jitter=50)  # fmt: skip
    works.run("spawn", since, since + 4000, count=2, cpu=draw.randrange(5, 60), every=800)


_Doing = Callable[[Works, int, int], None]
_BACKGROUND: dict[str, _Doing] = {
    "web": _web,
    "log": _log,
    "cron": _cron,
    "clock": _clock,
    "telemetry": _telemetry,
    "daemon": _daemon,
}
_BURSTS: dict[str, _Doing] = {
    "package": _package,
    "backup": _backup,
    "download": _download,
    "compile": _compile,
    "update": _update,
}
