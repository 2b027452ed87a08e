"""Who may look, from where and through what; what leaves the pages; a webhook."""

from __future__ import annotations

import csv
import http.client
import http.server
import io
import json
import re
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from edge.cli import main
from tests.brokers import free_port, mosquitto_on, program, wait_for_port
from tests.certificates import Authority
from tests.dashboard.conftest import Served, Start
from tests.dashboard.sent import live_guest
from tests.live.lab import until

pytestmark = [pytest.mark.system, pytest.mark.timeout(200)]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    with mosquitto_on(free_port(), tmp_path) as url:
        yield url


def asked(
    served: Served, path: str = "/", method: str = "GET", body: str = "", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", int(served.port), timeout=10)
    connection.request(method, path, body or None, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


def password_file(folder: Path, password: str = "correct horse") -> Path:
    command = [sys.executable, "-m", "edge.cli", "dashboard", "--set-password", str(folder / "login")]
    done = subprocess.run(command, input=f"{password}\n", capture_output=True, text=True, check=True)
    assert done.stdout == f"{folder / 'login'} holds its hash; name it with --login-file\n"
    return folder / "login"


def test_the_password_is_asked_for_and_a_log_in_outlives_a_restart(
    start: Start, browser: Browser, broker: str, tmp_path: Path
) -> None:
    login, port = password_file(tmp_path), free_port()
    options = ("--login-file", str(login), "--listen", f"127.0.0.1:{port}")
    served = start(broker, *options)
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{served.address}/scorecard")
    expect(page).to_have_url(f"{served.address}/login")
    page.get_by_label("password").fill("wrong")
    page.get_by_role("button", name="log in").click()
    expect(page.locator("main")).to_contain_text("That is not the password.")
    page.get_by_label("password").fill("correct horse")
    page.get_by_role("button", name="log in").click()
    expect(page.locator("h1")).to_have_text("Guests")
    (cookie,) = context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    served.stop()
    served = start(broker, *options)
    page.goto(f"{served.address}/scorecard")
    expect(page.locator("h1")).to_have_text("Scorecards")
    context.close()


def test_without_the_cookie_nothing_is_said_and_guesses_are_limited(start: Start, broker: str, tmp_path: Path) -> None:
    served = start(broker, "--login-file", str(password_file(tmp_path)))
    for path in ("/", "/scorecard", "/guest/n/g", "/guest/n/g/export.csv", "/alarms", "/nothing"):
        status, headers, body = asked(served, path)
        assert (status, headers["location"], body) == (303, "/login", b"")
    assert asked(served, "/stream")[0] == 401
    assert asked(served, "/", X_Part="1")[0] == 401
    assert asked(served, "/guest/n/g/remove", "POST")[0] == 303
    statuses = [asked(served, "/login", "POST", "password=guess")[0] for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    assert asked(served, "/login", "POST", "password=correct+horse")[0] == 429  # it must wait, too
    assert asked(served, "/static/style.css")[0] == 200
    for path in ("/static/../access.py", "/static/%2e%2e/access.py", "/static//etc/passwd"):
        assert asked(served, path)[0] in (303, 404)


def test_other_hosts_other_pages_and_scripts_from_elsewhere_are_kept_out(start: Start, broker: str) -> None:
    served = start(broker, "--host", "watch.example")
    assert asked(served, Host="evil.example")[0] == 400  # its name was made to lead here (DNS rebinding)
    assert asked(served, Host=f"watch.example:{served.port}")[0] == 200
    status, headers, _ = asked(served)
    assert status == 200
    policy = headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    host = f"127.0.0.1:{served.port}"
    assert asked(served, "/alarms/1", "POST", "note=x", Origin="http://127.0.0.1:1")[0] == 403
    assert asked(served, "/alarms/1", "POST", "note=x", Sec_Fetch_Site="cross-site")[0] == 403
    assert asked(served, "/alarms/1", "POST", "note=x", Origin=f"http://{host}")[0] == 404  # ours; but no such alarm
    assert asked(served, "/alarms/1", "POST", "note=" + "x" * 100_000, Origin=f"http://{host}")[0] == 404
    for path in ("/guest/n/none", "/guest/%2e%2e/x", "/alarms/999999999999999999999999", "/guest/n/g/export.exe"):
        assert asked(served, path)[0] in (404, 405), path


def test_tls_is_spoken_where_it_is_asked_for(start: Start, broker: str, tmp_path: Path, browser: Browser) -> None:
    authority = Authority(tmp_path / "pki")
    certificate, key = authority.issue("server", "127.0.0.1")
    served = start(
        broker,
        "--login-file",
        str(password_file(tmp_path)),
        "--tls-certificate",
        str(certificate),
        "--tls-key",
        str(key),
    )
    assert served.address.startswith("https://")
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(served.address)
    page.get_by_label("password").fill("correct horse")
    page.get_by_role("button", name="log in").click()
    expect(page.locator("h1")).to_have_text("Guests")
    assert context.cookies()[0]["secure"]
    context.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--listen", "0.0.0.0:0"],
            "0.0.0.0 is not this machine alone; expected --login-file, --tls-certificate",
        ),
        (["--listen", "nowhere"], "'nowhere'; expected host:port"),
        (["--tls-key", "k"], "one of two; expected a certificate and its key; name both"),
        (["--login-file", "none"], "none: no such file"),
        (["--webhook-file", "none"], "none: no such file"),
        (["--keep-days", "0"], "'0' is no number of days"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    options: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [
        "dashboard",
        "--broker",
        "mqtt://127.0.0.1:1",
        "--history",
        str(tmp_path / "h"),
        "--listen",
        "127.0.0.1:0",
    ]
    assert main([*command, *options]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "h").exists()


def test_a_password_that_is_short_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge.cli", "dashboard", "--set-password", str(tmp_path / "login")]
    done = subprocess.run(command, input="short\n", capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "edge: the password: 5 characters; expected eight or more, twice the same; try again\n"
    assert not (tmp_path / "login").exists()


def nginx_block() -> str:
    return str(re.findall(r"```nginx\n(.*?)```", (ROOT / "docs" / "dashboard.md").read_text(), re.DOTALL)[0])


def test_nginx_as_the_page_says_leads_there_by_a_sub_path(
    start: Start, page: Page, broker: str, tmp_path: Path
) -> None:
    served, port = start(broker, "--behind-proxy"), free_port()
    block = nginx_block().replace("127.0.0.1:8080", f"127.0.0.1:{served.port}")
    settings = tmp_path / "nginx.conf"
    temporary = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    settings.write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port}; {block} }} }}"
    )
    command = [str(program("nginx")), "-p", str(tmp_path), "-c", str(settings), "-g", "daemon off;"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as proxy:
        try:
            wait_for_port(port)
            page.goto(f"http://127.0.0.1:{port}/phasewatch/")
            expect(page.locator("main")).to_contain_text("Waiting for a first event")
            with live_guest(broker, tmp_path, "n", "g", 5):
                row = page.locator("tbody tr")
                expect(row).to_contain_text("infected running", timeout=60_000)  # the stream leads through it
                row.locator("a").click()
                expect(page.locator("h1")).to_contain_text("g on n")
                page.keyboard.press("ArrowLeft")
                page.get_by_role("link", name="overview").click()
                expect(page).to_have_url(f"http://127.0.0.1:{port}/phasewatch/")
        finally:
            proxy.terminate()


def test_a_stretch_leaves_as_csv_and_as_svg_that_stands_by_itself(filled: Served) -> None:
    status, headers, body = asked(filled, "/guest/pi-2/camera-1/export.csv")
    assert (status, headers["content-type"]) == (200, "text/csv; charset=utf-8")
    header, *rows = csv.reader(io.StringIO(body.decode()))
    assert header[:5] == ["end", "decided", "phase", "truth", "shadow"]
    assert len(rows) == 40
    assert [row[5] for row in rows] == ["0"] * 35 + ["1"] * 5
    assert rows[-1][1] == "infected_running"
    assert 'filename="pi-2-camera-1-' in headers["content-disposition"]
    first, last = int(rows[10][0]), int(rows[19][0])
    part = asked(filled, f"/guest/pi-2/camera-1/export.csv?from={first}&to={last}")[2]
    assert len(part.splitlines()) == 11
    status, headers, body = asked(filled, "/guest/pi-2/camera-1/export.svg")
    assert (status, headers["content-type"]) == (200, "image/svg+xml")
    root = ET.fromstring(body)
    assert root.find("{http://www.w3.org/2000/svg}style") is not None


class Hook(http.server.BaseHTTPRequestHandler):
    """Fails twice, then takes what is posted."""

    tries = 0
    took: list[bytes] = []  # noqa: RUF012 - a fresh class is made for each test

    def do_POST(self) -> None:
        type(self).tries += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.tries > 2:
            self.took.append(body)
        self.send_response(200 if self.tries > 2 else 500)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_an_alarm_is_posted_to_a_webhook_until_it_is_taken(
    start: Start, broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mine(Hook):
        took: list[bytes] = []  # noqa: RUF012 - this test's

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "hook").write_text(f"http://127.0.0.1:{server.server_port}/secret-path\n")
        served = start(broker, "--webhook-file", str(tmp_path / "hook"))
        with live_guest(broker, tmp_path, "n", "g", 10):
            until(lambda: Mine.took, 60, "post")
        time.sleep(0.2)
        (body,) = Mine.took
        said = json.loads(body)
        assert (said["node"], said["guest"], said["phase"], said["evidence"]) == (
            "n",
            "g",
            "infected_running",
            "g-evidence",
        )
        served.stop()
        assert "secret-path" not in (tmp_path / "dashboard.log").read_text()
        server.shutdown()
