"""The 46 channels: one named number each on the time grid. They are data (`channels.toml`), not code.

Your own registry is a TOML file of the same columns, given to the trainer and to the edge by `--channels FILE`.
"""

from __future__ import annotations

import functools
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from contracts.errors import ConfigError, MissingError
from contracts.telemetry.rows import ROW_TYPES
from contracts.vocabulary import Source, ThreatModel, sources_of

SampledKind = Literal["rate", "level", "change"]
FlowKind = Literal["flow_starts", "flow_volume", "flow_distinct", "flow_duration", "flow_start_gap"]
GivenKind = Literal["given"]
_FLOW_KINDS: tuple[str, ...] = get_args(FlowKind)


class Channel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How one channel is made from the rows of its source. The columns are explained at the top of `channels.toml`."""

    name: str
    source: Source
    kind: SampledKind | FlowKind | GivenKind
    field: str | None = None
    divisor: Annotated[int, msgspec.Meta(ge=1, le=10**15)] = 1
    unit: str
    transform: Literal["identity", "log1p"] = "identity"
    clip: Literal["window"] | None = None
    most: Annotated[int, msgspec.Meta(ge=1, le=10**18)] | None = None
    direction: Literal["out", "in"] = "out"
    only: Literal["syn", "small"] | None = None

    @property
    def id(self) -> str:
        """`<source>.<name>`: unique among all channels."""
        return f"{self.source}.{self.name}"


class _File(msgspec.Struct, forbid_unknown_fields=True):
    channel: list[Channel]


@functools.cache
def default_channels() -> tuple[Channel, ...]:
    """The 46 channels that ship with this version."""
    return _parse(
        resources.files("contracts.features").joinpath("channels.toml").read_bytes(), "contracts/features/channels.toml"
    )


def read_channels(path: Path) -> tuple[Channel, ...]:
    """A registry from a TOML file. Raises `MissingError` or `ConfigError`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MissingError(
            path, f"cannot be read ({error.strerror})", expected="a TOML file of channels", remedy="check the path"
        ) from None
    return _parse(data, str(path))


def _parse(data: bytes, where: str) -> tuple[Channel, ...]:
    try:
        channels = tuple(msgspec.toml.decode(data, type=_File).channel)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            where, str(error), expected="the columns of contracts/features/channels.toml", remedy="correct the file"
        ) from None
    if not channels:
        raise ConfigError(where, "no channel", expected="at least one [[channel]]", remedy="add one")
    seen: set[str] = set()
    for channel in channels:
        found = "its id is there twice" if channel.id in seen else _fault(channel)
        if found:
            raise ConfigError(
                f"{where}: channel {channel.id}",
                found,
                expected="what the head of contracts/features/channels.toml describes",
                remedy="correct the channel",
            )
        seen.add(channel.id)
    return channels


def _fault(channel: Channel) -> str | None:
    """What is wrong with a channel that the types alone do not catch."""
    fields = set(ROW_TYPES[channel.source].__struct_fields__)
    if channel.kind == "given":
        given = Channel(name=channel.name, source=channel.source, kind="given", unit=channel.unit)
        return None if channel == given else "kind given takes a unit and nothing else"
    if channel.kind.startswith("flow_") != (channel.source == "netflow"):
        return f"kind {channel.kind} does not go with source {channel.source}"
    idle = [
        name
        for name, kinds in (
            ("clip", ("level",)),
            ("most", ("rate", "level", "change")),
            ("only", ("flow_starts",)),
            ("direction", _FLOW_KINDS),
        )
        if getattr(channel, name) not in (None, "out") and channel.kind not in kinds
    ]
    if idle:  # it would change the hash and not the numbers
        return f"kind {channel.kind} makes nothing of {idle[0]}"
    if channel.kind in ("flow_starts", "flow_duration", "flow_start_gap"):
        return None if channel.field is None else f"kind {channel.kind} takes no field"
    if channel.field not in fields:
        return f"source {channel.source} has no field {channel.field!r}"
    if channel.kind == "flow_distinct":
        allowed: tuple[str, ...] = ("src", "dst", "sport", "dport", "proto")
    elif channel.kind == "flow_volume":
        allowed = ("bytes", "packets")
    else:
        allowed = tuple(sorted(fields - {"t_wall_ns", "t_mono_ns", "state", "status", "boot_id"}))
    if channel.field not in allowed:
        return f"kind {channel.kind} cannot use field {channel.field!r}"
    return None


def view_of(channels: tuple[Channel, ...], threat_model: ThreatModel) -> tuple[str, ...]:
    """The ids of the channels that a threat model may look at, in registry order."""
    return tuple(channel.id for channel in channels if channel.source in sources_of(threat_model))
