"""The dashboard: memory and CPU at 20 events a second, first paint, a day of 50 guests, a hundred pages.

python -m tests.bench.dashboard
"""

from __future__ import annotations

import contextlib
import http.client
import os
import sqlite3
import statistics
import tempfile
import threading
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from contracts.shell.broker import parse_broker
from edge.dashboard.history import History
from edge.dashboard.packing import pack
from edge.deliver.outbox import opened
from edge.session.delivery import Delivery
from tests.brokers import free_port, mosquitto_on, program
from tests.dashboard.conftest import Served
from tests.dashboard.sent import STRIDE_NS, put, window, windows

DAY, GUESTS = 17_280, 50


def rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def get_ms(served: Served, path: str, times: int = 15) -> float:
    took = []
    for i in range(times):
        connection = http.client.HTTPConnection("127.0.0.1", int(served.port))
        began = time.perf_counter()
        connection.request("GET", f"{path}{'&' if '?' in path else '?'}n={i}")  # another address: nothing kept for it
        connection.getresponse().read()
        took.append(1000 * (time.perf_counter() - began))
        connection.close()
    return statistics.median(took)


def one_page(folder: Path, seconds: float = 30) -> None:
    """Twenty events a second, one page of the overview and its stream."""
    with mosquitto_on(free_port(), folder) as url, opened(folder / "outbox") as outbox, sync_playwright() as play:
        served = Served(folder, url)
        delivery = Delivery(outbox, parse_broker(url), "n", lambda _: None)
        browser = play.chromium.launch(executable_path=str(program("chromium")), args=["--no-sandbox"])
        last = windows(outbox, "n", "g0", 200)
        for guest in range(1, 20):
            windows(outbox, "n", f"g{guest}", 20)
        delivery.wait_empty(20)
        page = browser.new_page()
        paints = []
        for _ in range(5):
            page.goto(served.address)
            page.wait_for_timeout(300)
            paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        began, before = time.monotonic(), cpu_s(served.process.pid)
        sent = 0
        while (now := time.monotonic() - began) < seconds:
            while sent < now * 20:
                end = last + (sent // 20 + 1) * STRIDE_NS
                put(outbox, "n", f"g{sent % 20}", window(f"g{sent % 20}", end), end)
                sent += 1
            page.wait_for_timeout(25)
        cpu = (cpu_s(served.process.pid) - before) / seconds
        print(f"one page, {sent / seconds:.0f} events/s: {rss_mb(served.process.pid):.0f} MB, {cpu:.1%} of a core; "
              f"first paint {statistics.median(paints):.0f} ms", flush=True)  # fmt: skip
        browser.close()
        delivery.hang_up()
        served.stop()


def a_day(folder: Path) -> None:
    """Fifty guests, a day each."""
    history = History(folder / "history")
    packed = pack(window("g", 1), lambda _: 1)
    for guest in range(GUESTS):
        number = history.guest("n", f"g{guest:02}")
        episode = history.episode(number, "day", time.time_ns())
        rows = [(number, episode, i * STRIDE_NS, packed) for i in range(1, DAY + 1)]
        history._db.executemany("INSERT INTO windows VALUES (?, ?, ?, ?)", rows)
    history.close()
    with mosquitto_on(free_port(), folder) as url:
        began = time.perf_counter()
        served = Served(folder, url)
        started = time.perf_counter() - began
        size = (folder / "history").stat().st_size / 1e6
        overview = get_ms(served, "/")
        day = get_ms(served, f"/guest/n/g07?from={STRIDE_NS}&to={DAY * STRIDE_NS}")
        print(f"a day of {GUESTS} guests: {size:.0f} MB; started in {started:.1f} s; overview {overview:.1f} ms, "
              f"a guest's day {day:.0f} ms; {rss_mb(served.process.pid):.0f} MB", flush=True)  # fmt: skip
        served.stop()


def many_pages(folder: Path) -> None:
    """How long the intake takes for 3,000 windows, with no page open and with a hundred, each asking as a page does."""
    for pages in (0, 100):
        place = folder / str(pages)
        place.mkdir()
        with mosquitto_on(free_port(), place) as url, opened(place / "outbox") as outbox:
            served = Served(place, url)
            stop = threading.Event()
            threads = [threading.Thread(target=_page, args=(served, stop), daemon=True) for _ in range(pages)]
            for thread in threads:
                thread.start()
            time.sleep(1)
            windows(outbox, "n", "g", 3000)
            began = time.perf_counter()
            delivery = Delivery(outbox, parse_broker(url), "n", lambda _: None)
            while _kept(place / "history") < 3000:
                time.sleep(0.05)
            print(f"{pages} pages open: 3,000 windows kept after {time.perf_counter() - began:.1f} s", flush=True)
            stop.set()
            delivery.hang_up()
            served.stop()


def _page(served: Served, stop: threading.Event) -> None:
    stream = http.client.HTTPConnection("127.0.0.1", int(served.port), timeout=30)
    stream.request("GET", "/stream")
    answer = stream.getresponse()
    while not stop.is_set():
        line = answer.readline()
        if line.startswith(b"event: changed"):
            with contextlib.suppress(OSError):  # it ends before us
                part = http.client.HTTPConnection("127.0.0.1", int(served.port), timeout=30)
                part.request("GET", "/", headers={"X-Part": "1"})
                part.getresponse().read()
                part.close()


def _kept(path: Path) -> int:
    with sqlite3.connect(path) as db:
        return int(db.execute("SELECT count(*) FROM windows").fetchone()[0])


def main() -> None:
    for measure in (one_page, a_day, many_pages):
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder))


if __name__ == "__main__":
    main()
