"""Write the JSON Schemas and the AsyncAPI 3 document of the events, from their types.

python -m contracts.events.documents docs/events
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec

from contracts.events.envelope import ALL_KINDS, CONTENT_TYPE, Availability, json_schema
from contracts.files import read_file, write_file
from contracts.shell.cli import Parser, run


def documents(folder: Path) -> dict[str, Any]:
    """Every document by file name. folder: has `examples`, one real event of each kind. Raises `MissingError`."""
    found: dict[str, Any] = {f"{kind.name}.schema.json": json_schema(kind) for kind in ALL_KINDS}
    found["asyncapi.json"] = asyncapi({kind.name: example(folder, kind.name) for kind in ALL_KINDS})
    return found


def example(folder: Path, name: str) -> Any:
    """An event that was sent. Raises `MissingError`."""
    return msgspec.json.decode(read_file(folder / "examples" / f"{name}.json", 1 << 20))


def asyncapi(examples: dict[str, Any]) -> dict[str, Any]:
    """AsyncAPI 3.0, all in one document, since what shows one does not follow references to other files: one channel
    and one send operation per kind of event, and those of what is no event."""
    level = {"description": "letters, digits, dots, dashes and underscores"}
    plain = {
        "availability": (
            "Retained, QoS 1; `offline` is the last will.",
            {"contentType": "text/plain", "payload": {"enum": list(get_args(Availability))}},
        ),
        "session": (
            "Retained, QoS 1; which agent has that name. Another that starts under it asks here, and gives way.",
            {"contentType": "application/json", "payload": {"type": "object"}},
        ),
    }
    channels: dict[str, Any] = {
        name: {
            "address": f"phasewatch/{{node}}/{name}",
            "description": description,
            "parameters": {"node": level},
            "messages": {name: {"name": name, **message}},
        }
        for name, (description, message) in plain.items()
    }
    schemas: dict[str, Any] = {}
    for kind in ALL_KINDS:
        schema = json_schema(kind, "#/components/schemas")
        schemas |= schema.pop("$defs")
        schema.pop("$schema")
        channels[kind.name] = {
            "address": f"phasewatch/{{node}}/{{guest}}/{kind.name}",
            "description": f"QoS {kind.qos}" + ("; the scorecard is retained" if kind.retain else ""),
            "parameters": {"node": level, "guest": level},
            "messages": {
                kind.name: {
                    "name": kind.type_name,
                    "contentType": f"{CONTENT_TYPE}; charset=UTF-8",
                    "payload": schema,
                    "examples": [{"name": kind.name, "payload": examples[kind.name]}],
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
        "components": {"schemas": schemas},
    }


def encoded(document: Any) -> bytes:
    """As it stands in its file."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def command_line() -> Parser:
    """Its one argument."""
    parser = Parser(
        prog="python -m contracts.events.documents", example="python -m contracts.events.documents docs/events"
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="where to write them; it has a folder of examples")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Write all; returns the exit status."""
    return run("schemas", _main, arguments)


def _main(arguments: Sequence[str]) -> int:
    folder: Path = command_line().parse_args(arguments).folder
    for name, document in documents(folder).items():
        write_file(folder / name, encoded(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
