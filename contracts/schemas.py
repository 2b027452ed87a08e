"""Write the JSON Schemas and the AsyncAPI 3 document of the six events, from their types.

python -m contracts.schemas docs/events
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

import msgspec

from contracts.events import CONTENT_TYPE, EVENT_KINDS, Availability, json_schema


def documents() -> dict[str, Any]:
    """Every document by file name."""
    found: dict[str, Any] = {f"{kind.name}.schema.json": json_schema(kind) for kind in EVENT_KINDS}
    found["asyncapi.json"] = asyncapi()
    return found


def asyncapi() -> dict[str, Any]:
    """AsyncAPI 3.0: one channel and one send operation per kind of event, and availability."""
    level = {"description": "letters, digits, dots, dashes and underscores"}
    channels: dict[str, Any] = {
        "availability": {
            "address": "phasewatch/{node}/availability",
            "description": "Retained, QoS 1; `offline` is the last will.",
            "parameters": {"node": level},
            "messages": {
                "availability": {
                    "contentType": "text/plain",
                    "payload": {"enum": list(get_args(Availability))},
                }
            },
        }
    }
    for kind in EVENT_KINDS:
        channels[kind.name] = {
            "address": f"phasewatch/{{node}}/{{guest}}/{kind.name}",
            "description": f"QoS {kind.qos}" + ("; the scorecard is retained" if kind.retain else ""),
            "parameters": {"node": level, "guest": level},
            "messages": {
                kind.name: {
                    "name": kind.type_name,
                    "contentType": CONTENT_TYPE,
                    "payload": {"$ref": f"./{kind.name}.schema.json"},
                }
            },
        }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Phasewatch events", "version": "1"},
        "channels": channels,
        "operations": {
            f"send_{name}": {"action": "send", "channel": {"$ref": f"#/channels/{name}"}} for name in channels
        },
    }


def encoded(document: Any) -> bytes:
    """As it stands in its file."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def main() -> None:
    """Write all into the folder named on the command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in documents().items():
        (folder / name).write_bytes(encoded(document))


if __name__ == "__main__":
    main()
