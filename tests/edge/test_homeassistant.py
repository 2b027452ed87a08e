"""Home Assistant's discovery: its rules as a JSON Schema, its templates on real events, what a real broker retains."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.shell.broker import parse_broker
from contracts.vocabulary import PHASES
from edge.deliver.line import Line
from edge.deliver.outbox import opened
from edge.session.delivery import Delivery
from edge.session.homeassistant import UNDECIDED, announce, config_topic, device, is_device_of, status_topic
from tests.brokers import Subscriber
from tests.live.lab import until

ID = {"type": "string", "pattern": "^[a-zA-Z0-9_-]+$"}
TEMPLATE = {"type": "string", "minLength": 1}
TEXT = {"type": "string", "minLength": 1}
# After homeassistant/components/mqtt/{discovery,schemas,sensor,binary_sensor,entity}.py of 2026.11: what they require,
# and what they refuse together.
RULES: dict[str, Any] = {
    "type": "object",
    "required": ["device", "origin", "components"],
    "additionalProperties": False,
    "properties": {
        "device": {
            "type": "object",
            "required": ["identifiers", "name"],
            "additionalProperties": False,
            "properties": {
                "identifiers": {"type": "array", "items": ID, "minItems": 1},
                "name": TEXT,
                "manufacturer": TEXT,
                "model": TEXT,
                "sw_version": TEXT,
            },
        },
        "origin": {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": {"name": {"type": "string"}, "sw_version": {"type": "string"}},
        },
        "availability": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["topic"],
                "additionalProperties": False,
                "properties": {"topic": {"type": "string"}, "value_template": TEMPLATE},
            },
        },
        "qos": {"enum": [0, 1, 2]},
        "components": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": ID,
            "additionalProperties": {
                "oneOf": [{"$ref": "#/$defs/sensor"}, {"$ref": "#/$defs/binary_sensor"}],
            },
        },
    },
    "$defs": {
        "sensor": {
            "type": "object",
            "required": ["platform", "unique_id", "state_topic"],
            "additionalProperties": False,
            "properties": {
                "platform": {"const": "sensor"},
                "unique_id": ID,
                "name": {"type": "string"},
                "state_topic": {"type": "string"},
                "value_template": TEMPLATE,
                "expire_after": {"type": "integer", "minimum": 1},
                "device_class": {"enum": ["enum"]},
                "options": {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
                "unit_of_measurement": {"type": "string"},
                "state_class": {"enum": ["measurement", "total", "total_increasing"]},
                "entity_category": {"enum": ["diagnostic"]},
            },
            # options need the device class enum, and bear neither a unit nor a state class
            "if": {"required": ["options"]},
            "then": {
                "required": ["device_class"],
                "properties": {"unit_of_measurement": False, "state_class": False},
            },
            "else": {"properties": {"device_class": False}},
        },
        "binary_sensor": {
            "type": "object",
            "required": ["platform", "unique_id", "state_topic"],
            "additionalProperties": False,
            "properties": {
                "platform": {"const": "binary_sensor"},
                "unique_id": ID,
                "name": {"type": "string"},
                "state_topic": {"type": "string"},
                "value_template": TEMPLATE,
                "expire_after": {"type": "integer", "minimum": 1},
                "device_class": {"enum": ["safety", "problem"]},
            },
        },
    },
}
EXAMPLES = Path(__file__).parents[2] / "docs" / "events" / "examples"
LEVEL = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,12}\Z")


def said(template: str, payload: bytes) -> str:
    """As Home Assistant reads it: Jinja2 in a sandbox, with `value` and `value_json`."""
    import jinja2.sandbox

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    values = {"value": payload.decode()}
    if payload[:1] == b"{":
        values["value_json"] = json.loads(payload)
    return environment.from_string(template).render(values)


@given(LEVEL, LEVEL)
def test_a_device_keeps_the_rules(node: str, guest: str) -> None:
    jsonschema.validate(device(node, guest), RULES)
    assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", config_topic(node, guest, "homeassistant"))


@given(LEVEL, LEVEL, LEVEL, LEVEL)
def test_no_two_guests_have_one_device(node: str, guest: str, other: str, another: str) -> None:
    one, two = config_topic(node, guest, "ha"), config_topic(other, another, "ha")
    assert (one == two) == ((node, guest) == (other, another))
    assert is_device_of(one, node, guest)
    assert is_device_of(one, node, None)
    assert is_device_of(one, other, None) == (node == other)
    ids = [part["unique_id"] for part in device(node, guest)["components"].values()]
    assert len(set(ids)) == len(ids)


def test_the_names_that_dots_and_underscores_could_confuse_are_apart() -> None:
    pairs = [("a.b", "c"), ("a_b", "c"), ("a", "b.c"), ("a_db", "c"), ("a_gb", "c"), ("a", "b_gc"), ("a", "b")]
    assert len({config_topic(*pair, "ha") for pair in pairs}) == len(pairs)


def test_its_templates_read_real_events() -> None:
    window, perf = ((EXAMPLES / f"{name}.json").read_bytes() for name in ("window", "perf"))
    parts = device("pi-1", "camera-1")["components"]
    real = json.loads(window)["data"]
    assert said(parts["phase"]["value_template"], window) == real["phase"]
    assert set(parts["phase"]["options"]) == {*PHASES, UNDECIDED}
    unfiltered = window.replace(f'"phase": "{real["phase"]}"'.encode(), b'"phase": null')
    assert said(parts["phase"]["value_template"], unfiltered) == real["decided"]
    abstained = unfiltered.replace(f'"decided": "{real["decided"]}"'.encode(), b'"decided": null')
    assert said(parts["phase"]["value_template"], abstained) == UNDECIDED
    of_before = re.sub(rb'"phase": null,\s*"infected": [0-9.]+,', b"", abstained)
    assert b'"phase"' not in of_before
    assert said(parts["phase"]["value_template"], of_before) == UNDECIDED
    assert said(parts["alarm"]["value_template"], window) == "ON"
    assert float(said(parts["confidence"]["value_template"], window)) == round(
        100 * max(real["probabilities"].values()), 1
    )
    assert float(said(parts["observed"]["value_template"], window)) == round(100 * min(real["observed"].values()), 1)
    assert said(parts["waiting"]["value_template"], perf) == str(json.loads(perf)["data"]["outbox_depth"])
    (where,) = device("pi-1", "camera-1")["availability"]
    assert [said(where["value_template"], state) for state in (b"online", b"stopped", b"offline")] == [
        "online", "offline", "offline"
    ]  # fmt: skip


@pytest.mark.system
def test_devices_stand_retained_come_again_when_it_starts_and_go_with_their_guests(
    tmp_path: Path, mosquitto: str
) -> None:
    with opened(tmp_path / "o") as outbox:
        announce(outbox, "pi.1", ["a", "b"], "ha")
        agent = Delivery(
            outbox,
            parse_broker(mosquitto),
            "pi.1",
            lambda _: None,
            guests=lambda: ["a", "b"],
            listen=status_topic("ha"),
        )
        assert agent.wait_empty(60)
        first = Subscriber(mosquitto, tmp_path, "ha/#")
        assert len(first.wait_for(2, "/config")) == 2
        assert all(retained for retained, _, _ in first.heard())
        jsonschema.validate(json.loads(first.heard()[0][2]), RULES)
        there = Line(parse_broker(mosquitto), "home-assistant", 5)
        assert there.call() is None
        there.publish("ha/status", b"online")
        assert there.wait(lambda: bool(there.answers), 60)
        assert len(first.wait_for(4, "/config")) == 4  # it has just started, and forgotten what it knew
        announce(outbox, "pi.1", ["b"], "ha")  # a guest is gone
        assert agent.wait_empty(60)
        until(lambda: first.heard()[-1][2], 60, "what comes after")
        cleared = [topic for _, topic, payload in first.heard() if not payload]
        assert cleared == [config_topic("pi.1", "a", "ha")]
        announce(outbox, "pi.1", ["b"], None)  # switched off
        assert agent.wait_empty(60)
        agent.hang_up()
        first.close()
        there.close()
    late = Subscriber(mosquitto, tmp_path, "ha/+/+/config")
    until(lambda: late._process.poll() is None, 60, "subscriber")
    assert late.heard() == []
    late.close()
