"""Every event into one SQLite file: a subscriber of fifty lines, to be run as it is or to be made into another.

python store.py mqtt://127.0.0.1:1883 events.sqlite        (needs paho-mqtt alone)

An event is identified by its source and id together, so that whatever is sent twice is stored once. A row is
acknowledged to the broker only after it is on the disk; with the session kept, nothing is lost while this is away.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

TABLE = """
CREATE TABLE IF NOT EXISTS events (
    source TEXT NOT NULL, id TEXT NOT NULL, sequence INTEGER NOT NULL, type TEXT NOT NULL, time TEXT NOT NULL,
    node TEXT NOT NULL, guest TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (source, id)) WITHOUT ROWID
"""


def main(url: str, path: str) -> None:
    broker = urlsplit(url)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(TABLE)

    def store(client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            _, node, guest, _ = message.topic.split("/")
            event = json.loads(message.payload)
            row = (event["source"], event["id"], int(event["sequence"]), event["type"], event["time"], node, guest,
                   json.dumps(event["data"]))  # fmt: skip
            db.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        except (ValueError, KeyError, TypeError) as error:  # anybody may speak on a broker
            print(f"{message.topic}: no event: {error}", file=sys.stderr)
        client.ack(message.mid, message.qos)

    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id="phasewatch-store", protocol=mqtt.MQTTv311, clean_session=False,
        manual_ack=True,
    )  # fmt: skip
    if broker.username:
        client.username_pw_set(broker.username, os.environ.get("PHASEWATCH_MQTT_PASSWORD"))
    if broker.scheme == "mqtts":
        client.tls_set()
    client.on_connect = lambda client, *_: client.subscribe("phasewatch/+/+/+", qos=1)
    client.on_message = store
    client.connect(broker.hostname or "localhost", broker.port or (8883 if broker.scheme == "mqtts" else 1883))
    client.loop_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
