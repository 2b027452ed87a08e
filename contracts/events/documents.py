"""Write the JSON Schemas and the AsyncAPI 3 document of the six events, from their types.

python -m contracts.events.documents docs/events
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec

from contracts.events.envelope import CONTENT_TYPE, EVENT_KINDS, Availability, json_schema
from contracts.files import write_file
from contracts.shell.cli import Parser, run


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


def command_line() -> Parser:
    """Its one argument."""
    parser = Parser(
        prog="python -m contracts.events.documents", example="python -m contracts.events.documents docs/events"
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="where to write them")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Write all; returns the exit status."""
    return run("schemas", _main, arguments)


def _main(arguments: Sequence[str]) -> int:
    folder: Path = command_line().parse_args(arguments).folder
    for name, document in documents().items():
        write_file(folder / name, encoded(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
