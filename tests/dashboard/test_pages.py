"""The pages in a real browser, against a real mosquitto and a real replay."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from contracts.events.envelope import encode_event, make_event, numbered
from contracts.events.payloads import TopChannel
from contracts.shell.broker import parse_broker
from edge.deliver.line import Line
from edge.deliver.outbox import opened
from edge.session.delivery import Delivery
from tests.brokers import free_port, mosquitto_on
from tests.contracts.test_asyncapi import judges
from tests.dashboard.conftest import Served, Start
from tests.dashboard.sent import BUNDLE, live_guest, put, window, windows
from tests.live.lab import until

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "build" / "screenshots"
GUEST = "/guest/pi-1/lab-q35-2-g1"
SCENES = {
    "overview": ("/", ["lab-q35-2-g0", "camera-1", "since", "infected running"]),
    "guest": (GUEST, ["replay, ", "mattered most", "truth", "windows in all"]),
    "live": ("/guest/pi-2/camera-1", ["▲ alarm since", "camera-1-evidence", "qmp 50 %"]),
    "scorecard": ("/scorecard", ["macro F1", "realistic: what the host sees"]),
    "confusion": ("/confusion", ["truth down, decided across", "%"]),
    "profiles": ("/profiles", ["macro F1", "io-walk"]),
    "performance": ("/performance", ["inference ms", "events wait", "MB"]),
    "alarms": ("/alarms", ["still up", "camera-1"]),
}
_ = judges


@pytest.mark.parametrize("scene", SCENES)
def test_each_scene_fills_and_axe_finds_nothing_serious_wide_or_on_a_phone_in_light_or_dark(
    filled: Served, browser: Browser, judges: Path, scene: str
) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    path, words = SCENES[scene]
    axe = (judges / "node_modules" / "axe-core" / "axe.min.js").read_text()
    for size, width in (("wide", 1120), ("phone", 390)):
        for scheme in ("light", "dark"):
            context = browser.new_context(
                viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
            )  # fmt: skip
            page = context.new_page()
            page.goto(f"{filled.address}{path}")
            for word in words if size == "wide" else words[:1]:
                expect(page.locator("body")).to_contain_text(word)
            page.wait_for_timeout(100)
            found = page.evaluate(f"async () => {{ {axe}; return (await axe.run()).violations }}")
            bad = [one for one in found if one["impact"] in ("serious", "critical")]
            assert bad == [], [
                (one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"]) for one in bad
            ]
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.screenshot(path=SHOTS / f"{scene}-{size}-{scheme}.png", full_page=True)
            context.close()


def test_a_window_is_found_by_mouse_by_touch_and_by_the_arrow_keys(filled: Served, page: Page) -> None:
    page.goto(f"{filled.address}{GUEST}")
    panel = page.locator("#window [data-end]")
    last = int(panel.get_attribute("data-end") or 0)
    page.keyboard.press("ArrowLeft")
    expect(panel).to_have_attribute("data-end", str(last - 5_000_000_000))
    page.keyboard.press("ArrowRight")
    expect(panel).to_have_attribute("data-end", str(last))
    drawing = page.locator("svg.timeline.wide")
    box = drawing.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 40)
    expect(panel).not_to_have_attribute("data-end", str(last))
    middle = int(panel.get_attribute("data-end") or 0)
    first, end = (int(drawing.get_attribute(f"data-{name}") or 0) for name in ("first", "last"))
    assert 0.3 < (middle - first) / (end - first) < 0.7
    assert page.locator("svg.timeline.wide .cursor").get_attribute("d") != "M-9 0V200"


def test_an_agent_that_comes_alarms_goes_and_is_gone_is_seen_without_a_reload(
    start: Start, page: Page, tmp_path: Path
) -> None:
    with mosquitto_on(free_port(), tmp_path) as url:
        served = start(url)
        page.goto(served.address)
        expect(page.locator("main")).to_contain_text("Waiting for a first event")
        with live_guest(url, tmp_path, "n", "g", 10, alarmed=0):
            row = page.locator("tbody tr")
            expect(row).to_contain_text("clean")
            expect(row.locator(".state.live")).to_be_visible()
        expect(row.locator(".state.stopped")).to_be_visible()
        with opened(tmp_path / "outbox-n") as outbox:
            delivery = Delivery(outbox, parse_broker(url), "n", lambda _: None)
            now = time.time_ns()
            for i in range(3):
                put(outbox, "n", "g", window("g", now + i, "infected_running", alarm=True), now)
            assert delivery.wait_empty(60)
            expect(row.locator(".alarmed")).to_contain_text("▲ since")
            expect(page.locator("#said")).to_contain_text("Alarm: n/g")
            delivery._drain._publisher.leave = lambda line: line.cut("its power is cut")  # type: ignore[method-assign] # nothing is said
            delivery.hang_up()
        expect(row.locator(".state.offline")).to_be_visible(timeout=30_000)  # by its will
        expect(row.locator(".alarmed.past")).to_contain_text("was up")


def test_reload_and_restarts_of_the_server_and_the_broker_lose_nothing(
    start: Start, page: Page, tmp_path: Path
) -> None:
    port = free_port()

    def kept() -> int:
        with sqlite3.connect(tmp_path / "history") as db:
            return int(db.execute("SELECT count(*) FROM windows").fetchone()[0])

    with opened(tmp_path / "o") as outbox:
        with mosquitto_on(port, tmp_path) as url:
            served = start(url)
            delivery = Delivery(outbox, parse_broker(url), "n", lambda _: None)
            last = windows(outbox, "n", "g", 20)
            until(lambda: kept() == 20, 60, "20 windows")
            page.goto(f"{served.address}/guest/n/g")
            expect(page.locator("svg.timeline.wide")).to_have_attribute("aria-label", "20 windows")
            page.reload()
            expect(page.locator("svg.timeline.wide")).to_have_attribute("aria-label", "20 windows")
            assert served.stop() == 0
            for i in range(1, 6):  # the dashboard is away: the broker keeps them for it
                put(outbox, "n", "g", window("g", last + i * 5_000_000_000), last)
            assert delivery.wait_empty(60)
            served = start(url)
            until(lambda: kept() == 25, 60, "those of the meantime")
        for i in range(6, 11):  # the broker is away: the agent keeps them
            put(outbox, "n", "g", window("g", last + i * 5_000_000_000), last)
        page.goto(f"{served.address}/guest/n/g")
        expect(page.locator("main")).to_contain_text("Nothing comes from the broker", timeout=60_000)
        with mosquitto_on(port, tmp_path):
            until(lambda: kept() == 30, 60, "those of the broker's absence")
            delivery.hang_up()
        page.goto(f"{served.address}/guest/n/g")
        expect(page.locator("svg.timeline.wide")).to_have_attribute("aria-label", "30 windows")


def test_a_page_that_has_lost_its_server_says_so_and_recovers(start: Start, page: Page, tmp_path: Path) -> None:
    with mosquitto_on(free_port(), tmp_path) as url:
        served = start(url)
        page.goto(served.address)
        expect(page.locator("#lost")).to_be_hidden()
        os.kill(served.process.pid, signal.SIGSTOP)
        try:
            expect(page.locator("#lost")).to_be_visible(timeout=60_000)
        finally:
            os.kill(served.process.pid, signal.SIGCONT)
        expect(page.locator("#lost")).to_be_hidden(timeout=60_000)


def test_missing_events_are_marked_on_the_timeline(start: Start, page: Page, tmp_path: Path) -> None:
    with mosquitto_on(free_port(), tmp_path) as url, opened(tmp_path / "o") as outbox:
        served = start(url)
        windows(outbox, "n", "g", 10)
        outbox.remove(outbox.pending(20)[4:7])  # lost on their way
        delivery = Delivery(outbox, parse_broker(url), "n", lambda _: None)
        assert delivery.wait_empty(60)
        page.goto(f"{served.address}/guest/n/g")
        expect(page.locator("main")).to_contain_text("3 events are missing in this episode")
        assert page.locator("svg.timeline.wide .gap title").text_content() == "3 events are missing: nobody knows why"
        delivery.hang_up()


HOSTILE = [
    "<img src=x onerror=hacked()>",
    "\"onmouseover='hacked()'",
    "{{7*7}}",
    "..",
    "a\u202eb",
    "%67",
    "a?b",
    "é☃",
    "",
]


def test_a_hostile_name_does_nothing(start: Start, page: Page, tmp_path: Path) -> None:
    with mosquitto_on(free_port(), tmp_path) as url:
        served = start(url)
        line = Line(parse_broker(url), "stranger", 5)
        assert line.call() is None
        now, bad = time.time_ns(), HOSTILE[0]
        for name in HOSTILE:  # no agent has such a name, and none of it is kept
            event = make_event(window(name, now), node=name, guest=name, t_wall_ns=now, schema_hash="a" * 64)
            line.publish(f"phasewatch/{name}/{name}/window", numbered(encode_event(event), 1))
        line.publish("phasewatch/n/g/window", b"no event at all")
        said = msgspec.structs.replace(
            window("g", now, alarm=True), episode_id=bad, evidence=bad,
            bundle=msgspec.structs.replace(BUNDLE, name=bad, runtime=bad),
            top_channels=[TopChannel(channel=f"={bad}", score=0.5)],
        )  # fmt: skip
        wrong = [
            said,
            msgspec.structs.replace(said, end_wall_ns=1 << 63),
            msgspec.structs.replace(said, end_wall_ns=now + 10**18),
            msgspec.structs.replace(said, flags=["degraded"] * 40),
            msgspec.structs.replace(said, top_channels=[TopChannel(channel="c", score=1e39)]),
            msgspec.structs.replace(said, episode_id="x" * 10_000),
        ]
        for number, data in enumerate(wrong, start=1):
            event = make_event(data, node="n", guest="g", t_wall_ns=now, schema_hash="a" * 64)
            line.publish("phasewatch/n/g/window", numbered(encode_event(event), number))
        assert line.wait(lambda: len(line.answers) == len(HOSTILE) + 1 + len(wrong), 60)
        page.goto(served.address)
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.locator("main")).to_contain_text("messages on our topics were no events of ours.")
        page.locator("tbody tr a").click()
        expect(page.locator("main")).to_contain_text(bad)
        for path in ("/scorecard", "/performance", "/alarms", "/guest/n/g/export.csv", "/guest/n/g/export.svg"):
            answer = page.request.get(f"{served.address}{path}")
            assert answer.status == 200
            assert path.endswith("csv") or "<img" not in answer.text()
        assert "'=<img" in page.request.get(f"{served.address}/guest/n/g/export.csv").text()
        assert page.evaluate("typeof hacked") == "undefined"
        assert page.locator("main img").count() == 0
        with live_guest(url, tmp_path, "m", "after", 3):  # and the next is heard
            page.goto(served.address)
            expect(page.locator("tbody tr")).to_have_count(2)
        line.close()


def test_what_stops_to_come_is_stale_on_a_page_that_stays_open(start: Start, page: Page, tmp_path: Path) -> None:
    with mosquitto_on(free_port(), tmp_path) as url:
        served = start(url)
        with opened(tmp_path / "o") as outbox:
            delivery = Delivery(outbox, parse_broker(url), "n", lambda _: None)
            windows(outbox, "n", "g", 3)
            assert delivery.wait_empty(60)
            page.goto(served.address)
            expect(page.locator("tbody .state.live")).to_be_visible()
            expect(page.locator("tbody .state.stale")).to_be_visible(timeout=45_000)  # nobody has said anything
            delivery.hang_up()


def test_an_alarm_is_seen_with_a_note_that_stays(start: Start, page: Page, tmp_path: Path) -> None:
    with mosquitto_on(free_port(), tmp_path) as url:
        served = start(url)
        with live_guest(url, tmp_path, "n", "g", 10):
            page.goto(f"{served.address}/alarms")
            expect(page.locator("tbody")).to_contain_text("still up", timeout=60_000)
        page.locator("input[name=note]").fill("a backup <b>of mine</b>")
        page.get_by_role("button", name="seen").click()
        expect(page.locator("tbody")).to_contain_text("a backup <b>of mine</b>")
        served.stop()
        served = start(url)
        page.goto(f"{served.address}/alarms")
        expect(page.locator("tbody")).to_contain_text("a backup <b>of mine</b>")


def test_what_is_being_written_outlives_what_comes_meanwhile(start: Start, page: Page, tmp_path: Path) -> None:
    asked: list[Route] = []

    def asks() -> bool:
        page.wait_for_timeout(50)  # the browser's events come meanwhile
        return bool(asked)

    with mosquitto_on(free_port(), tmp_path) as url:
        served = start(url)
        with live_guest(url, tmp_path, "n", "g", 10):
            page.goto(f"{served.address}/alarms")
            row = page.locator("tbody tr", has=page.get_by_role("link", name="g", exact=True))
            note = row.locator("input")
            expect(note).to_have_value("")
            page.route("**/alarms", lambda route: route.continue_() if asked else asked.append(route))
            with live_guest(url, tmp_path, "m", "other", 10):
                until(asks, 60, "question for the part that is new")
                note.fill("a backup")  # the answer is on its way
                asked[0].continue_()
                with page.expect_response("**/alarms"):  # again, as somebody is at work
                    pass
                note.press_sequentially(" of mine")
                page.locator("h1").click()
                expect(page.locator("tbody")).to_contain_text("other")
        expect(note).to_have_value("a backup of mine")


def test_a_guest_that_is_gone_can_be_removed(start: Start, page: Page, tmp_path: Path) -> None:
    with mosquitto_on(free_port(), tmp_path) as url:
        served = start(url)
        with live_guest(url, tmp_path, "n", "g", 5):
            pass
        page.goto(served.address)
        expect(page.locator("tbody tr")).to_have_count(1)
        page.locator("tbody a").click()
        page.get_by_role("button", name="forget this guest here").click()
        expect(page.locator("main")).to_contain_text("Waiting for a first event")
        assert page.locator("#node option").all_inner_texts() == ["all"]  # its node has gone with it


@pytest.mark.parametrize("asked", [("search", "camera"), ("node", "pi-1"), ("alarm", "up"), ("phase", "armed")])
def test_guests_are_searched_and_filtered_by_an_address_that_can_be_sent(
    filled: Served, page: Page, asked: tuple[str, str]
) -> None:
    name, value = asked
    page.goto(f"{filled.address}/?{name}={value}")
    rows = page.locator("tbody tr")
    texts = rows.all_inner_texts()
    if name == "search":
        assert [text.split()[0] for text in texts] == ["camera-1"]
    elif name == "node":
        assert len(texts) == 2
        assert all("pi-1" in text for text in texts)
    elif name == "alarm":
        assert all("since" in text or "was up" in text for text in texts)
        assert any("camera-1" in text for text in texts)
    else:
        assert all("armed" in text for text in texts)


def test_a_sound_and_a_notification_come_with_an_alarm_by_choice(start: Start, page: Page, tmp_path: Path) -> None:
    page.add_init_script(
        "window.notes = []; window.beeps = 0;"
        "window.Notification = class { static permission = 'granted'; static requestPermission() {}"
        " constructor(title, options) { window.notes.push(options.body) } };"
        "const node = { connect: (other) => other };"
        "window.AudioContext = class { currentTime = 0; destination = node;"
        " createOscillator() { return { ...node, frequency: {}, start: () => { window.beeps += 1 }, stop() {} } }"
        " createGain() { return { ...node, gain: {} } } };"
    )
    with mosquitto_on(free_port(), tmp_path) as url:
        served = start(url)
        page.goto(served.address)
        with live_guest(url, tmp_path, "n", "quiet", 3, alarmed=1):
            expect(page.locator("tbody .alarmed")).to_be_visible()
        assert page.evaluate("[window.notes, window.beeps]") == [[], 0]  # nobody has asked for it
        for what in ("sound", "notify"):
            page.locator(f"input[data-wants={what}]").check()
        with live_guest(url, tmp_path, "m", "loud", 3, alarmed=1):
            expect(page.locator("#said")).to_contain_text("m/loud", timeout=60_000)
            assert page.evaluate("[window.notes, window.beeps]") == [["m/loud"], 1]
        page.reload()
        assert page.locator("input[data-wants=sound]").is_checked()  # it is remembered
