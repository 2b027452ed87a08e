"""What `docs/fleet.md` hands out: the store of fifty lines on a real broker, and Telegraf's paths on a real event."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from contracts.shell.broker import parse_broker
from edge.deliver.line import Line
from edge.deliver.outbox import opened
from edge.session.delivery import Delivery
from tests.brokers import free_port, mosquitto_on
from tests.edge.sending import put_windows
from tests.live.lab import until

ROOT = Path(__file__).parents[2]
FLEET = ROOT / "firmware-config" / "fleet"
MISSING = re.findall(r"```sql\n(SELECT.*?);\n```", (ROOT / "docs" / "fleet.md").read_text(), re.DOTALL)[0]


def storing(url: str, path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(FLEET / "store.py"), url, str(path)], stderr=subprocess.PIPE)


def stored(path: Path) -> int:
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as db:
        return int(db.execute("SELECT count(*) FROM events").fetchone()[0])
    return 0


@pytest.mark.system
def test_the_store_keeps_every_event_once_through_a_restart_of_itself_and_a_strangers_payload(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    with mosquitto_on(free_port(), tmp_path) as url, opened(tmp_path / "o") as outbox:
        delivery = Delivery(outbox, parse_broker(url), "n", lambda _: None)
        store = storing(url, path)
        put_windows(outbox, 0, 1)
        while not stored(path):  # it subscribes at a moment of its own
            put_windows(outbox, 0, 1)
            delivery.wait_empty(1)
        first = stored(path)
        put_windows(outbox, 1, 200)
        until(lambda: stored(path) > 50, 60, "some of them")
        store.kill()
        store.wait()
        put_windows(outbox, 201, 200)
        assert delivery.wait_empty(60)
        stranger = Line(parse_broker(url), "stranger", 5)
        assert stranger.call() is None
        for payload in (b"\xff", b"{}", b'{"source": 1}', b""):
            stranger.publish("phasewatch/n/g/window", payload)
        assert stranger.wait(lambda: len(stranger.answers) == 4, 60)
        stranger.close()
        put_windows(outbox, 1, 50)  # told again: other places, the same events
        assert delivery.wait_empty(60)
        store = storing(url, path)
        put_windows(outbox, 401, 1)
        until(lambda: stored(path) == 401 + first, 60, "all of them, once each")
        store.terminate()
        _, said = store.communicate(timeout=60)
        assert said.count(b"no event") == 4
        assert b"Traceback" not in said
        delivery.hang_up()
    with contextlib.closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT DISTINCT json_extract(data, '$.start_wall_ns') / 5000000000 FROM events").fetchall()
        assert sorted(number for (number,) in rows) == list(range(402))
        # events that were told again have another place, where the first one stays: no row, and so a gap in this table
        db.execute("DELETE FROM events WHERE sequence = 100")
        assert ("/phasewatch/n/g", 100) in db.execute(MISSING).fetchall()


def leads_somewhere(event: Any, path: str) -> bool:
    for name in path.split("."):
        if not isinstance(event, dict) or name not in event:
            return False
        event = event[name]
    return True


def test_every_path_of_telegrafs_configuration_leads_somewhere_in_a_real_event() -> None:
    said = tomllib.loads((FLEET / "telegraf.conf").read_text())
    seen = 0
    for source in said["inputs"]["mqtt_consumer"]:
        (topic,) = source["topics"]
        event = json.loads((ROOT / "docs/events/examples" / f"{topic.rpartition('/')[2]}.json").read_bytes())
        for part in source["json_v2"]:
            paths = [part["timestamp_path"]]
            paths += [one["path"] for kind in ("tag", "field", "object") for one in part.get(kind, [])]
            for path in paths:
                assert leads_somewhere(event, path), (topic, path)
                seen += 1
    assert seen > 10
    assert not leads_somewhere({"data": {}}, "data.alarm")
