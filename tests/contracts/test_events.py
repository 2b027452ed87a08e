"""The six events: envelope, ids, topics and their published schemas."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import msgspec
import pytest

from contracts.errors import RowError
from contracts.events.documents import documents, encoded
from contracts.events.envelope import (
    ALL_KINDS,
    EVENT_KINDS,
    EventKind,
    availability_topic,
    decode_event,
    encode_event,
    json_schema,
    kind_of,
    make_event,
    rfc3339,
    topic,
)
from contracts.events.payloads import BundleRef, ConfusionData

PUBLISHED = Path(__file__).parents[2] / "docs" / "events"
REF = BundleRef(name="gbt-x", digest="0" * 64, runtime="r 1", key=None)
DATA = ConfusionData(basis="running", bundle=REF, labels=["clean", "armed"], matrix=[[3, 1], [0, 2]])


def test_six_kinds_and_only_perf_is_qos_0() -> None:
    assert [kind.name for kind in EVENT_KINDS] == ["episode", "window", "metrics", "confusion", "perf", "profiles"]
    assert [kind.name for kind in EVENT_KINDS if kind.qos == 0] == ["perf"]
    assert [kind.name for kind in EVENT_KINDS if kind.retain] == ["metrics", "confusion", "profiles"]


def test_make_event_twice_gives_the_same_bytes_and_other_content_another_id() -> None:
    def one(matrix: list[list[int]], at: int = 1) -> bytes:
        data = msgspec.structs.replace(DATA, matrix=matrix)
        return encode_event(make_event(data, node="n", guest="g", t_wall_ns=at, schema_hash="a" * 64))

    assert one([[1, 0], [0, 1]]) == one([[1, 0], [0, 1]])
    ids = {json.loads(payload)["id"] for payload in (one([[1, 0], [0, 1]]), one([[2, 0], [0, 1]]), one([[1]], 2))}
    assert len(ids) == 3


def test_event_round_trips_and_fits_its_json_schema() -> None:
    event = make_event(DATA, node="n", guest="g", t_wall_ns=1795369135495386394, schema_hash="a" * 64)
    payload = encode_event(event)
    assert decode_event(payload) == event
    document = json.loads(payload)
    jsonschema.validate(document, json_schema(kind_of(DATA)))
    # required by CloudEvents 1.0, section "Context attributes"
    assert {"specversion", "id", "source", "type"} <= document.keys()
    assert document["time"] == "2026-11-22T17:38:55.495386394Z"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "extra": 1}, json_schema(kind_of(DATA)))


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b"\xff", b'{"type":"phasewatch.window.v1"}'])
def test_decode_event_refuses_what_is_no_event(payload: bytes) -> None:
    with pytest.raises(RowError, match="expected a CloudEvents 1.0 document"):
        decode_event(payload, "phasewatch/x")


def test_decode_event_refuses_another_type() -> None:
    with pytest.raises(RowError, match="type 'x'; expected one of the events"):
        decode_event(b'{"type":"x"}')


def test_topics_are_those_of_the_design() -> None:
    assert topic("n", "g", EVENT_KINDS[1]) == "phasewatch/n/g/window"
    assert availability_topic("n") == "phasewatch/n/availability"


def test_rfc3339_keeps_all_nine_digits() -> None:
    assert rfc3339(1) == "1970-01-01T00:00:00.000000001Z"


@pytest.mark.parametrize("name", sorted(documents(PUBLISHED)))
def test_published_schemas_have_not_drifted(name: str) -> None:
    published = PUBLISHED / name
    assert published.read_bytes() == encoded(documents(PUBLISHED)[name]), "run `make schemas`"


def test_published_folder_holds_nothing_else() -> None:
    assert {path.name for path in PUBLISHED.iterdir()} - {"examples"} == documents(PUBLISHED).keys()


@pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.name)
def test_json_schemas_are_valid_themselves(kind: EventKind) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema(kind))
