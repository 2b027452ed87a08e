"""Home Assistant: each guest is a device there, by what stands retained under its discovery topics.

Source: home-assistant.io/integrations/mqtt, "MQTT Discovery", device based (2026.11).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Iterable
from typing import Any

import msgspec

from contracts.events.envelope import EVENT_KINDS, availability_topic, topic
from contracts.features.schema import SECOND, feature_schema
from contracts.vocabulary import PHASES
from edge.deliver.outbox import Outbox
from edge.deliver.rows import Rank

UNDECIDED = "undecided"
"""The state where the model abstained."""
_STRIDES = 3
"""A state is unknown after so many windows that did not come."""
_KINDS = {kind.name: kind for kind in EVENT_KINDS}


def status_topic(prefix: str) -> str:
    """Where Home Assistant says `online` once it has started, and has forgotten what it knew."""
    return f"{prefix}/status"


def announce(outbox: Outbox, node: str, guests: Iterable[str], prefix: str | None) -> None:
    """Put what is to stand there now into the outbox, and clear what stands there of others. Raises `StorageError`."""
    wanted = {} if prefix is None else {config_topic(node, guest, prefix): device(node, guest) for guest in guests}
    for name in sorted(outbox.standing()):
        if not name.startswith("phasewatch/") and name not in wanted:
            outbox.clear(name)
    for name, said in wanted.items():
        payload = msgspec.json.encode(said)
        outbox.put(
            source="homeassistant", event_id=hashlib.sha256(payload).hexdigest()[:32], topic=name, qos=1, retain=True,
            payload=payload, rank=Rank.LATEST,
        )  # fmt: skip


def config_topic(node: str, guest: str, prefix: str) -> str:
    """Of one guest's device."""
    return f"{prefix}/device/{_name(node, guest)}/config"


def _name(node: str, guest: str) -> str:
    """Of letters, digits, `_` and `-` alone, and no two alike: `_` is doubled, and `_d` is a dot."""
    node, guest = (part.replace("_", "__").replace(".", "_d") for part in (node, guest))
    return f"phasewatch_n{node}_g{guest}"


def device(node: str, guest: str) -> dict[str, Any]:
    """What is said of one guest."""
    name, version = _name(node, guest), importlib.metadata.version("phasewatch")
    window, perf = (topic(node, guest, _KINDS[kind]) for kind in ("window", "perf"))
    expires = _STRIDES * feature_schema().stride_ns // SECOND

    def component(platform: str, key: str, title: str, of: str, template: str, **more: Any) -> dict[str, Any]:
        said = {"platform": platform, "unique_id": f"{name}_c{key}", "name": title, "state_topic": of}
        return said | {"value_template": template} | ({"expire_after": expires} if of == window else {}) | more

    diagnostic = {"entity_category": "diagnostic"}
    return {
        "device": {
            "identifiers": [name],
            "name": guest,
            "manufacturer": "Phasewatch",
            "model": f"guest on {node}",
            "sw_version": version,
        },
        "origin": {"name": "Phasewatch", "sw_version": version},
        # `stopped` is neither of its two payloads
        "availability": [
            {
                "topic": availability_topic(node),
                "value_template": "{{ 'online' if value == 'online' else 'offline' }}",
            }
        ],
        "qos": 1,
        "components": {
            "phase": component(
                "sensor", "phase", "Phase", window,
                f"{{{{ value_json.data.get('phase') or value_json.data.decided or '{UNDECIDED}' }}}}",
                device_class="enum", options=[*PHASES, UNDECIDED],
            ),
            "alarm": component(
                "binary_sensor", "alarm", "Alarm", window, "{{ 'ON' if value_json.data.alarm else 'OFF' }}",
                device_class="safety",
            ),
            "confidence": component(
                "sensor", "confidence", "Confidence", window,
                "{{ (100 * (value_json.data.probabilities.values() | max)) | round(1) }}",
                unit_of_measurement="%", state_class="measurement",
            ),
            "observed": component(
                "sensor", "observed", "Observed", window,
                "{{ (100 * (value_json.data.observed.values() | min)) | round(1) }}",
                unit_of_measurement="%", state_class="measurement", **diagnostic,
            ),
            "waiting": component(
                "sensor", "waiting", "Events that wait", perf, "{{ value_json.data.outbox_depth }}",
                state_class="measurement", **diagnostic,
            ),
        },
    }  # fmt: skip


def is_device_of(name: str, node: str, guest: str | None) -> bool:
    """Whether a discovery topic is of this guest, or of any of this node."""
    said = name.split("/")[-2]
    return said == _name(node, guest) if guest is not None else said.startswith(_name(node, ""))
