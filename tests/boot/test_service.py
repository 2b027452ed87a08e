"""The agent under a real systemd, booted: as docs/pi.md says, word by word, and whatever happens to it afterwards."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.features.schema import SECOND
from tests.boot.conftest import LATER, Debs
from tests.boot.container import container
from tests.boot.guide import Watched
from tests.boot.roots import AMD64, made
from tests.live.lab import until

pytestmark = [pytest.mark.slow, pytest.mark.system]
CONFIG = "/etc/phasewatch/edge.toml"
DROP_IN = "/etc/systemd/system/phasewatch-edge.service.d/test.conf"


@contextmanager
def set_for_a_while(watched: Watched, lines: str) -> Iterator[None]:
    """Other settings of the unit. The agent runs as before when the block ends."""
    watched.container.forget()
    watched.container.sh(
        f"mkdir -p {DROP_IN.rpartition('/')[0]}; printf '{lines}' > {DROP_IN}; systemctl daemon-reload"
    )
    try:
        yield
    finally:
        watched.container.sh(
            f"rm -f {DROP_IN}; systemctl daemon-reload; systemctl stop phasewatch-edge-again.timer; "
            "systemctl reset-failed; systemctl restart phasewatch-edge"
        )
        watched.windows()


def is_whole(watched: Watched, first: int) -> None:
    """No window between two is missing: they end every five seconds, and their places follow one another."""
    windows = watched.events("window")[first:]
    ends = [one["data"]["end_wall_ns"] for one in windows]
    assert [later - earlier for earlier, later in itertools.pairwise(ends)] == [5 * SECOND] * (len(ends) - 1)


def test_the_guide_leads_to_a_watched_guest(watched: Watched) -> None:
    observed = watched.windows()[-1]["data"]["observed"]
    assert "FAULT" not in watched.said, watched.said
    assert re.search(r"^ok +camera-1 proc +up", watched.said, re.MULTILINE), watched.said
    assert re.search(r"^ok +broker MQTT +accepted \(MQTT 5\)", watched.said, re.MULTILINE), watched.said
    assert observed["guest"] == observed["netflow"] == 1
    assert observed["proc"] == 14 / 16  # without two capabilities, /proc/PID/io is masked
    assert "watching camera-1; broker: connected" in watched.container.property("StatusText")


def test_the_dashboard_serves_its_page(watched: Watched) -> None:
    page = watched.container.sh(
        "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:8080/\").read().decode())'"
    )
    assert "camera-1" in page


def test_the_agent_is_ready_only_once_its_bundle_is_open(watched: Watched) -> None:
    with set_for_a_while(watched, ""):
        watched.container.sh("systemctl restart phasewatch-edge")
        assert watched.container.property("ActiveState") == "active"
        assert watched.container.property("NotifyAccess") == "main"
        watched.container.says("camera-1 qmp: up")


def test_secrets_are_handed_over_and_not_to_be_read(watched: Watched) -> None:
    assert watched.container.sh("stat -c '%a %U' /etc/phasewatch/credentials") == "700 root"
    password = watched.container.sh("cat /etc/phasewatch/credentials/mqtt-password")
    denied = watched.container.sh("runuser -u phasewatch -- cat /etc/phasewatch/credentials/mqtt-password", check=False)
    assert "Permission denied" in denied
    assert password not in watched.container.journal()
    assert password not in watched.container.sh(f"tr '\\0' '\\n' < /proc/{watched.pid}/environ")
    assert password not in watched.container.sh("ps axww -o args")


def test_what_is_not_needed_is_out_of_reach(watched: Watched) -> None:
    """Of the running process, as the kernel has it."""
    status = watched.container.sh(f"cat /proc/{watched.pid}/status")
    found = dict(re.findall(r"^(\w+):\s+(.*)$", status, re.MULTILINE))
    assert found["CapEff"] == found["CapBnd"] == found["CapAmb"] == "0" * 16
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"
    assert "0\t" not in found["Uid"]


def test_another_configuration_and_another_bundle_cost_no_window(watched: Watched, debs: Debs) -> None:
    before, pid = len(watched.windows()) - 1, watched.pid
    watched.container.forget()
    watched.container.sh(
        f"sed -i 's/^node = .*/node = \"pi-1\" # the same/' {CONFIG}; systemctl reload phasewatch-edge"
    )
    watched.container.says("another configuration: camera-1")
    was = watched.events("window")[-1]["data"]["bundle"]["name"]
    (other,) = (path.name for path in debs.bundles if was not in path.name)
    # in root's own folder, which the agent's user may not read
    said = watched.container.sh(f"cp /shared/{other} /root/ && chmod 0600 /root/{other} && edge install /root/{other}")
    assert f"{other.removesuffix('.bundle')} is the current bundle" in said
    until(lambda: watched.events("window")[-1]["data"]["bundle"]["name"] in other, 60, "window of the other bundle")
    watched.windows()
    assert watched.pid == pid
    is_whole(watched, before)
    owners = watched.container.sh("find /var/lib/phasewatch ! -user phasewatch")
    assert owners == "", "root left files that the agent cannot change"


def test_a_faulty_configuration_is_refused_with_its_line_and_the_old_one_stays(watched: Watched) -> None:
    before = len(watched.windows()) - 1
    watched.container.forget()
    watched.container.sh(f"cp {CONFIG} /tmp/good; echo 'nonsense = 1' >> {CONFIG}; systemctl reload phasewatch-edge")
    line = int(watched.container.sh(f"wc -l < {CONFIG}"))
    watched.container.says(f"the old configuration stays: {CONFIG}:{line}: unknown key `nonsense`")
    watched.container.sh(f"cp /tmp/good {CONFIG}; systemctl reload phasewatch-edge")
    watched.windows()
    is_whole(watched, before)


def test_an_agent_that_hangs_is_killed_by_systemds_watchdog_and_started_anew(watched: Watched) -> None:
    with set_for_a_while(watched, "[Service]\\nWatchdogSec=6s\\n"):
        watched.container.sh("systemctl restart phasewatch-edge")
        watched.windows()
        pid = watched.pid
        watched.container.sh(f"kill -STOP {pid}")
        watched.container.says("Watchdog timeout (limit 6s)!")
        until(lambda: watched.pid not in (0, pid), 60, "another process")
        watched.windows()


def test_a_crash_loop_rests_after_five_starts_and_goes_on_by_itself(watched: Watched) -> None:
    """With shorter times than the unit's own: the intervals are systemd's to count."""
    limit = "[Unit]\\nStartLimitIntervalSec=3s\\n"  # as four minutes to a rest of five
    settings = f"{limit}[Service]\\nRestartSec=100ms\\nExecStart=\\nExecStart=/bin/false\\n"
    timer = "/etc/systemd/system/phasewatch-edge-again.timer.d"
    soon = "[Timer]\\nOnActiveSec=\\nOnActiveSec=4s\\nAccuracySec=100ms\\n"
    watched.container.sh(f"mkdir -p {timer}; printf '{soon}' > {timer}/test.conf")
    try:
        with set_for_a_while(watched, settings):
            watched.container.sh("systemctl restart phasewatch-edge", check=False)
            watched.container.says("Start request repeated too quickly.", count=3)  # a rest after a rest
            watched.container.sh(f"rm {DROP_IN}; systemctl daemon-reload")
            until(lambda: watched.container.property("ActiveState") == "active", 60, "start by the timer")
    finally:
        watched.container.sh(f"rm -r {timer}; systemctl daemon-reload")


def test_a_stop_is_told_and_leaves_nothing_behind(watched: Watched) -> None:
    with set_for_a_while(watched, ""):
        before = watched.heard().count("/availability stopped")
        watched.container.sh("systemctl stop phasewatch-edge")
        until(lambda: watched.heard().count("/availability stopped") == before + 1, 60, "word of the stop")
        assert watched.container.property("Result") == "success"
        assert not watched.container.sh("pgrep -u phasewatch", check=False)


def test_a_bundle_that_is_put_into_the_folder_is_installed_by_itself_and_once(watched: Watched, debs: Debs) -> None:
    """The .path unit of updates; the .timer runs the same service."""
    inside, incoming = watched.container, "/srv/phasewatch/bundles"
    inside.forget()
    inside.sh("systemctl enable --now phasewatch-update.path")
    try:
        now = watched.events("window")[-1]["data"]["bundle"]["name"]
        # one that nobody has installed here: the same model, signed anew, would be another file; so forget what was
        inside.sh("rm -f /var/lib/phasewatch/installed-before.json")
        (other,) = (path.name for path in debs.bundles if now not in path.name)
        inside.sh(f"cp /shared/{other} {incoming}/x.part && mv {incoming}/x.part {incoming}/{other}")
        inside.says(f"{other.removesuffix('.bundle')} is the current bundle", unit="phasewatch-update")
        until(lambda: watched.events("window")[-1]["data"]["bundle"]["name"] in other, 60, "window of the other bundle")
        inside.sh(f"edge rollback; touch {incoming}/{other}; systemctl start phasewatch-update")
        inside.says("was installed here before: nothing is done", unit="phasewatch-update")
        assert inside.sh("systemctl show --property=Result --value phasewatch-update") == "success"
        inside.sh(f"echo spoiled > {incoming}/y.part && mv {incoming}/y.part {incoming}/y.bundle")
        inside.says(f"{incoming}/y.bundle: ", unit="phasewatch-update")
        until(lambda: inside.property("Result", "phasewatch-update") == "exit-code", 60, "refusal that systemd shows")
    finally:
        inside.sh(f"systemctl disable --now phasewatch-update.path; rm -f {incoming}/*; systemctl reset-failed")


def test_a_bundle_at_an_address_is_installed_by_the_timers_service(watched: Watched, debs: Debs) -> None:
    inside, env = watched.container, "/etc/phasewatch/update.env"
    now = watched.events("window")[-1]["data"]["bundle"]["name"]
    (other,) = (path.name for path in debs.bundles if now not in path.name)
    inside.forget()
    inside.sh("rm -f /var/lib/phasewatch/installed-before.json")
    inside.sh(
        "systemd-run --quiet --unit=shelf --working-directory=/shared python3 -m http.server --bind 127.0.0.1 8099"
    )
    try:
        inside.sh(f"cp {env} /tmp/env; echo FROM=http://127.0.0.1:8099/{other} > {env}")
        until(lambda: inside.sh("systemctl start phasewatch-update", check=False) == "", 60, "answer of the server")
        until(lambda: watched.events("window")[-1]["data"]["bundle"]["name"] in other, 60, "window of the other bundle")
        inside.sh(
            f"echo FROM=http://127.0.0.1:8099/none.bundle > {env}; systemctl start phasewatch-update", check=False
        )
        inside.says("none.bundle: the server says 404 File not found; expected a bundle", unit="phasewatch-update")
    finally:
        inside.sh(f"cp /tmp/env {env}; systemctl stop shelf; systemctl reset-failed")


def test_what_may_not_be_used_is_said_with_its_remedy_and_the_rest_goes_on(watched: Watched) -> None:
    """A port below 1024 for flow records, and a QMP socket of others."""
    inside, socket = watched.container, "/run/phasewatch/camera-1/qmp.sock"
    before = len(watched.windows()) - 1
    inside.sh(f"cp {CONFIG} /tmp/good && sed -i 's/^.netflow.$/[netflow]\\nlisten = \"127.0.0.1:53\"/' {CONFIG}")
    try:
        inside.forget()
        inside.sh(f"chgrp root {socket} && systemctl restart phasewatch-edge")
        inside.says("netflow: UDP 127.0.0.1:53: Permission denied; name a port from 1024 up")
        inside.says(f"camera-1 qmp: {socket}: Permission denied; start the guest with this socket, and let us use it")
        assert watched.windows()[-1]["data"]["observed"]["qmp"] == 0
    finally:
        inside.sh(f"cp /tmp/good {CONFIG}; systemctl restart phasewatch-guest@camera-1 phasewatch-edge")
    watched.windows(2)
    assert len(watched.events("window")) > before


def test_an_upgrade_that_would_not_start_leaves_the_old_agent_running_and_watching(
    watched: Watched, debs: Debs
) -> None:
    inside = watched.container
    inside.bring(debs.of(debs.later, "phasewatch-edge", "bookworm", "amd64"))
    before, pid = len(watched.windows()) - 1, watched.pid
    inside.sh(f"cp {CONFIG} /tmp/good && echo 'nonsense = 1' >> {CONFIG}")
    said = inside.sh(f"dpkg --install --force-depends /shared/phasewatch-edge_{LATER}*.deb")
    assert re.search(rf"phasewatch-edge: edge: {CONFIG}:\d+: unknown key `nonsense`", said), said
    watched.windows()
    (other,) = (
        path for path in debs.bundles if watched.events("window")[-1]["data"]["bundle"]["name"] not in path.name
    )
    inside.sh(f"edge install /shared/{other.name}")  # the new program installs, the old agent takes it
    until(
        lambda: watched.events("window")[-1]["data"]["bundle"]["name"] in other.name, 60, "window of the other bundle"
    )
    assert watched.pid == pid
    is_whole(watched, before)
    inside.sh(f"cp /tmp/good {CONFIG}; systemctl restart phasewatch-edge")
    watched.windows()
    assert watched.pid != pid
    assert inside.sh("dpkg-query --show --showformat '${Version}' phasewatch-edge").startswith(LATER)


def test_systemd_has_nothing_to_say_against_the_units(watched: Watched) -> None:
    files = watched.container.sh("ls /lib/systemd/system/phasewatch-* /etc/systemd/system/phasewatch-guest@.service")
    names = [path.replace("@.", "@tap0.") for path in files.split()]
    assert len(names) >= 8
    for name in names:
        assert watched.container.sh(f"systemd-analyze verify --man=no {name}") == "", name


def test_removed_and_purged_while_they_run_they_are_gone(debs: Debs, tmp_path: Path) -> None:
    with container(made(AMD64), tmp_path / "booted") as booted:
        for package in ("phasewatch-edge", "phasewatch-dashboard"):
            booted.bring(debs.of(debs.now, package, "bookworm", "amd64"))
        booted.sh("dpkg --install /shared/*.deb")
        booted.says("no bundle is installed yet: edge install FILE; waiting")
        assert booted.property("ActiveState", "phasewatch-dashboard") == "active"
        booted.sh("dpkg --remove phasewatch-dashboard phasewatch-edge")
        assert not booted.sh("pgrep --full 'edge (run|dashboard)'", check=False)
        assert booted.property("LoadState") in ("masked", "not-found")
        booted.sh("dpkg --install /shared/*.deb")  # and again
        until(lambda: booted.property("ActiveState") == "active", 60, "agent that is back")
        booted.sh("dpkg --purge phasewatch-dashboard phasewatch-edge")
        assert booted.property("LoadState") == "not-found"
        assert booted.sh("ls -d /etc/phasewatch /var/lib/phasewatch*", check=False).count("No such file") == 2


def test_a_state_folder_that_is_read_only_is_said_and_nothing_else_is_touched(watched: Watched) -> None:
    with set_for_a_while(watched, "[Service]\\nReadOnlyPaths=/var/lib/phasewatch\\nRestart=no\\n"):
        watched.container.sh("systemctl stop phasewatch-edge")
        before = watched.container.sh("cd /var/lib/phasewatch && find . -type f -exec md5sum {} +")
        watched.container.sh("systemctl start phasewatch-edge", check=False)
        watched.container.says("edge: /var/lib/phasewatch/")
        assert re.search(r"edge: /var/lib/phasewatch/\S+: .*; expected .*", watched.container.journal())
        assert watched.container.sh("cd /var/lib/phasewatch && find . -type f -exec md5sum {} +") == before
