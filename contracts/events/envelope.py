"""The six events, the notice of a gap, their envelope (CloudEvents 1.0, structured JSON) and their MQTT topics.

`source` and `id` together name an event: ids derive from content, so a resend keeps its id and a second replay of the
same episode yields the same window events, byte for byte but for `sequence`, which counts what a source has sent.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

from contracts.decode import UNDECODABLE, decoded
from contracts.errors import RowError
from contracts.events.payloads import (
    ConfusionData,
    EpisodeData,
    GapData,
    MetricsData,
    PerfData,
    ProfilesData,
    WindowData,
)
from contracts.types import Sha256

Data = EpisodeData | WindowData | MetricsData | ConfusionData | PerfData | ProfilesData | GapData
D = TypeVar("D")
Place = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{16}$(?!\n)")]
"""A number in 16 digits, so that places in the order of text are in the order of time."""
_NOWHERE: Place = "0" * 16


class Event(msgspec.Struct, Generic[D], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A CloudEvents 1.0 envelope, with two extension attributes. `featureschema` is the feature-schema hash; `sequence`
    (CloudEvents' own extension) the event's place among those of its source, from 1, without a gap, over restarts."""

    specversion: Literal["1.0"]
    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]
    source: str
    type: str
    time: str
    datacontenttype: Literal["application/json"]
    featureschema: Sha256
    data: D
    sequence: Place


class EventKind(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of event travels."""

    name: str
    type_name: str
    data: type[Data]
    qos: int
    retain: bool
    stream: str = ""
    """What its source has behind the guest's name: what may get lost (QoS 0) is counted apart."""


def _event_type(kind: EventKind) -> Any:
    """`Event[<its payload>]`: a type made at run time, which a type checker cannot read as one."""
    event: Any = Event
    return event[kind.data]


EVENT_KINDS: tuple[EventKind, ...] = (
    EventKind(name="episode", type_name="phasewatch.episode.v1", data=EpisodeData, qos=1, retain=False),
    EventKind(name="window", type_name="phasewatch.window.v1", data=WindowData, qos=1, retain=False),
    EventKind(name="metrics", type_name="phasewatch.metrics.v1", data=MetricsData, qos=1, retain=True),
    EventKind(name="confusion", type_name="phasewatch.confusion.v1", data=ConfusionData, qos=1, retain=True),
    EventKind(name="perf", type_name="phasewatch.perf.v1", data=PerfData, qos=0, retain=False, stream="/perf"),
    EventKind(name="profiles", type_name="phasewatch.profiles.v1", data=ProfilesData, qos=1, retain=True),
)
GAP = EventKind(name="gap", type_name="phasewatch.gap.v1", data=GapData, qos=1, retain=False)
"""Of none of the six: it says which of them will not come."""
ALL_KINDS = (*EVENT_KINDS, GAP)

CONTENT_TYPE = "application/cloudevents+json"
Availability = Literal["online", "stopped", "offline"]
"""The retained payload of `phasewatch/<node>/availability`: running, ended cleanly, or (by last will) gone."""

_decoders = {kind.type_name: msgspec.json.Decoder(_event_type(kind)) for kind in ALL_KINDS}
_encoder = msgspec.json.Encoder()
_sorted = msgspec.json.Encoder(order="sorted")


def kind_of(data: Data) -> EventKind:
    """The kind whose payload this is."""
    return next(kind for kind in ALL_KINDS if kind.data is type(data))


def topic(node: str, guest: str, kind: EventKind) -> str:
    """`phasewatch/<node>/<guest>/<event>`."""
    return f"phasewatch/{node}/{guest}/{kind.name}"


def availability_topic(node: str) -> str:
    """`phasewatch/<node>/availability`."""
    return f"phasewatch/{node}/availability"


def session_topic(node: str) -> str:
    """`phasewatch/<node>/session`: which agent has that name. No event."""
    return f"phasewatch/{node}/session"


def rfc3339(t_wall_ns: int) -> str:
    """Unix ns as RFC 3339 in UTC, with all nine digits."""
    seconds, rest = divmod(t_wall_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def make_event(data: Data, *, node: str, guest: str, t_wall_ns: int, schema_hash: str) -> Event[Data]:
    """Put an envelope around a payload. The id is 128 bits of sha256 over all the rest but `sequence`, which stays at
    nought until the event is `numbered`."""
    kind = kind_of(data)
    event = Event(
        specversion="1.0",
        id="0" * 32,
        source=f"/phasewatch/{node}/{guest}{kind.stream}",
        type=kind.type_name,
        time=rfc3339(t_wall_ns),
        datacontenttype="application/json",
        featureschema=schema_hash,
        data=data,
        sequence=_NOWHERE,
    )
    return msgspec.structs.replace(event, id=hashlib.sha256(_sorted.encode(event)).hexdigest()[:32])


def encode_event(event: Event[Data]) -> bytes:
    """Structured-mode JSON."""
    return _encoder.encode(event)


_UNNUMBERED = b'"sequence":"%s"}' % _NOWHERE.encode()


def numbered(payload: bytes, number: int) -> bytes:
    """An encoded event that has its place now; any other payload as it is."""
    if not payload.endswith(_UNNUMBERED):
        return payload
    return payload[: -len(_UNNUMBERED)] + b'"sequence":"%016d"}' % number


def decode_event(payload: bytes, where: object = "event") -> Event[Data]:
    """The event in a payload. Raises `RowError`."""
    remedy, document = "use matching versions on both sides", "a CloudEvents 1.0 document"
    said = decoded(payload, _Typed, where, RowError, expected=document, remedy=remedy).type
    try:
        event: Event[Data] = _decoders[said].decode(payload)
    except KeyError as error:
        raise RowError(where, f"type {error}", expected="one of the events", remedy=remedy) from None
    except UNDECODABLE as error:
        raise RowError(where, str(error), expected=document, remedy=remedy) from None
    return event


class _Typed(msgspec.Struct):
    type: str


def json_schema(kind: EventKind, place: str = "#/$defs") -> dict[str, Any]:
    """JSON Schema 2020-12 of one kind of event, envelope and all. place: where what it refers to will stand."""
    (reference,), definitions = msgspec.json.schema_components([_event_type(kind)], ref_template=f"{place}/{{name}}")
    envelope = definitions.pop(reference["$ref"].rpartition("/")[2])
    envelope["properties"]["type"] = {"const": kind.type_name}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **envelope,
        "title": kind.type_name,
        "$defs": definitions,
    }
    _on_one_line(schema)
    return schema


def _on_one_line(schema: Any) -> None:
    """Descriptions are docstrings, which Python 3.13 indents otherwise than those before it."""
    for name, value in schema.items():
        if name == "description" and isinstance(value, str):
            schema[name] = " ".join(value.split())
        elif isinstance(value, dict):
            _on_one_line(value)
