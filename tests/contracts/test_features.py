"""The feature schema and its hash."""

from __future__ import annotations

import msgspec
import pytest

from contracts.errors import ConfigError, SchemaMismatchError
from contracts.features.channels import Channel
from contracts.features.schema import SECOND, FeatureSchema, require_schema


def test_hash_is_pinned_to_this_version(schema: FeatureSchema) -> None:
    # Whoever changes this on purpose also decides whether EXTRACTOR_VERSION rises (tests/golden tells).
    assert schema.hash == "2d19e4f1ebf9b899847a75d92469e288f87b54b8a95c81ec8cc2050e3146ad79"


def test_canonical_round_trips_and_holds_no_floats(schema: FeatureSchema) -> None:
    assert msgspec.json.decode(schema.canonical(), type=FeatureSchema) == schema
    assert b"." not in schema.canonical().replace(b"v1.", b"")


@pytest.mark.parametrize(
    "change",
    [{"step_ns": SECOND // 20}, {"stride_ns": SECOND}, {"settle_ns": 4 * SECOND}, {"extractor_version": 3}],
)
def test_hash_changes_with_everything_that_changes_features(schema: FeatureSchema, change: dict[str, int]) -> None:
    assert msgspec.structs.replace(schema, **change).hash != schema.hash


def test_hash_changes_with_a_channels_transform(schema: FeatureSchema) -> None:
    first = msgspec.structs.replace(schema.channels[0], transform="log1p")
    assert msgspec.structs.replace(schema, channels=(first, *schema.channels[1:])).hash != schema.hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window_ns": SECOND // 3}, "window or stride off the grid; expected multiples of the step"),
        ({"stride_ns": 0}, "window or stride off the grid"),
        ({"settle_ns": SECOND}, "a maximum age over the settle time"),
        ({"flow_horizon_ns": 60 * SECOND}, "flow horizon 60000000000 ns"),
        ({"max_age_ns": {"proc": SECOND}}, "maximum ages for proc; expected one for proc, qmp and guest each"),
        ({"statistics": ("mean",)}, "statistics mean; expected mean, std"),
    ],
)
def test_schema_refuses_what_could_not_be_extracted(
    schema: FeatureSchema, change: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        msgspec.structs.replace(schema, **change)


def test_require_schema_refuses_another_hash(schema: FeatureSchema) -> None:
    with pytest.raises(
        SchemaMismatchError,
        match=r"bundle x: feature schema abababababab…; expected \w{12}…, which .*; rebuild it with",
    ):
        require_schema("ab" * 32, schema, "bundle x")


def test_hash_goes_by_value_however_the_schema_came_here(schema: FeatureSchema) -> None:
    """Copied between processes, read from JSON, or with defaults written down: one schema, one hash."""
    import pickle

    assert pickle.loads(pickle.dumps(schema)).hash == schema.hash  # as a worker gets it, on our own machine
    assert msgspec.json.decode(msgspec.json.encode(schema), type=FeatureSchema).hash == schema.hash
    spelt = [msgspec.structs.asdict(channel) for channel in schema.channels]
    channels = msgspec.convert(spelt, tuple[Channel, ...])
    assert msgspec.structs.replace(schema, channels=channels).hash == schema.hash
