"""What the service costs under systemd, in a booted container with a guest: `python -m tests.bench.service`.

CPU by systemd's own accounting; memory and bytes written as the kernel has them of the process (this machine gives a
container no memory controller; whole machines, `make test-boot`, do). Written is what reaches the disk, SQLite's
journal and syncs included.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from pathlib import Path

from contracts.bundle.keys import generate_key
from contracts.features.schema import feature_schema
from tests.boot.conftest import Debs, build_debs
from tests.boot.container import container
from tests.boot.guide import Watched, follow, prepare
from tests.boot.roots import AMD64, made
from tests.bundles import make_bundle

SEVERAL = """
[record]
store = "/var/lib/phasewatch/recordings"
"""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--bundle", type=Path, help="a real one (default: one of a few lines of C)")
    parser.add_argument("--trust", type=Path, help="its maker's key")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="phasewatch-bench-") as name:
        folder = Path(name)
        if options.bundle is None:
            options.trust = generate_key(folder / "keys" / "bench.key")
            options.bundle = make_bundle(folder, feature_schema(), folder / "keys" / "bench.key", 0)
        here = ("--suite", "bookworm", "--architecture", "amd64")
        began = time.monotonic()
        build_debs(folder / "debs", *here, "--bundle", str(options.bundle), "--trust", str(options.trust))
        print(f"packages made in {time.monotonic() - began:.0f} s")
        with container(made(AMD64), folder / "booted") as booted:
            packages = [
                Debs.of(folder / "debs", one, *here[1::2]) for one in ("phasewatch-edge", "phasewatch-dashboard")
            ]
            prepare(booted, packages)
            watched = Watched(booted, follow(booted))
            for package in ("phasewatch-edge", "phasewatch-dashboard"):
                size = int(booted.sh(f"dpkg-query --show --showformat '${{Installed-Size}}' {package}"))
                packed = packages[package.endswith("board")].stat().st_size
                print(f"{package}: {packed / 1e6:.1f} MB, {size / 1e3:.1f} installed")
            _first_event(watched)
            _measure(watched, options.minutes, "outbox and evidence")
            booted.sh(f"printf '{SEVERAL}' >> /etc/phasewatch/edge.toml && systemctl restart phasewatch-edge")
            watched.windows()
            _measure(watched, options.minutes, "recording, too")


def _first_event(watched: Watched) -> None:
    """From a start of the unit to the first window at the broker; thirteen seconds are the window and its settling."""
    watched.container.sh("systemctl stop phasewatch-edge")
    before = len(watched.events("window"))
    began = time.monotonic()
    watched.container.sh("systemctl start phasewatch-edge")
    ready = time.monotonic() - began
    while len(watched.events("window")) == before:
        time.sleep(0.05)
    print(f"ready after {ready:.2f} s, first window at the broker after {time.monotonic() - began:.1f} s")


def _measure(watched: Watched, minutes: float, what: str) -> None:
    """Of both units, over so long."""
    inside, units = watched.container, ("phasewatch-edge", "phasewatch-dashboard")

    def now(unit: str) -> tuple[float, float, int]:
        (written,) = re.findall(r"^write_bytes: (\d+)", inside.sh(f"cat /proc/{_pid(unit)}/io"), re.MULTILINE)
        return time.monotonic(), int(inside.property("CPUUsageNSec", unit)) / 1e9, int(written)

    def _pid(unit: str) -> str:
        return inside.property("MainPID", unit)

    windows, before = len(watched.events("window")), {unit: now(unit) for unit in units}
    time.sleep(minutes * 60)
    print(f"{what}, {minutes:g} min, {len(watched.events('window')) - windows} windows:")
    for unit in units:
        seconds, cpu, written = (then - first for then, first in zip(now(unit), before[unit], strict=True))
        status = inside.sh(f"cat /proc/{_pid(unit)}/status")
        rss, most = (
            int(re.findall(rf"^{name}:\s+(\d+)", status, re.MULTILINE)[0]) / 1e3 for name in ("VmRSS", "VmHWM")
        )
        rate = written / seconds * 3600
        print(f"  {unit}: RSS {rss:.1f} MB (most {most:.1f}), CPU {cpu / seconds:.2%} of a core, ", end="")
        print(f"{rate / 1e6:.1f} MB an hour to the disk ({rate * 24 / 1e9:.2f} GB a day)", flush=True)


if __name__ == "__main__":
    main()
