"""The feature schema: everything that decides which numbers a window becomes, and its hash."""

from __future__ import annotations

import hashlib

import msgspec

from contracts.errors import ConfigError, SchemaMismatchError
from contracts.features.channels import Channel, default_channels
from contracts.vocabulary import SOURCES, Source

EXTRACTOR_VERSION = 2
"""Raised by hand whenever `edge.extract` gives other numbers for the same rows; golden vectors notice."""

STATISTICS: tuple[str, ...] = ("mean", "std", "min", "max", "slope", "roughness")
"""Summary statistics of one channel over one window, in the order in which features are laid out."""

SECOND = 1_000_000_000

_CHANNEL_DEFAULTS = {
    field.name: field.default for field in msgspec.structs.fields(Channel) if field.default is not msgspec.NODEFAULT
}


class FeatureSchema(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is extracted, and how. Integers only, so that its canonical JSON prints one way. Times in ns."""

    extractor_version: int = EXTRACTOR_VERSION
    channels: tuple[Channel, ...]
    step_ns: int = SECOND // 10
    window_ns: int = 10 * SECOND
    stride_ns: int = 5 * SECOND
    settle_ns: int = 3 * SECOND
    flow_horizon_ns: int = 2 * SECOND
    max_age_ns: dict[Source, int] = msgspec.field(
        default_factory=lambda: {"guest": SECOND, "proc": SECOND, "qmp": 2 * SECOND}
    )
    statistics: tuple[str, ...] = STATISTICS

    def __post_init__(self) -> None:
        def refuse(found: str, expected: str) -> ConfigError:
            return ConfigError("feature schema", found, expected=expected, remedy="correct the schema")

        if self.step_ns <= 0 or self.window_ns % self.step_ns or self.stride_ns % self.step_ns or self.stride_ns <= 0:
            raise refuse("window or stride off the grid", "multiples of the step")
        if self.flow_horizon_ns % self.step_ns or not 0 < self.flow_horizon_ns <= self.window_ns:
            raise refuse(f"flow horizon {self.flow_horizon_ns} ns", "a multiple of the step, at most a window")
        if any(not 0 < age <= self.settle_ns for age in self.max_age_ns.values()):
            # A longer one would let a whole recording see a row that the live agent had not received yet.
            raise refuse("a maximum age over the settle time", f"at most {self.settle_ns} ns")
        if set(self.max_age_ns) != set(SOURCES) - {"netflow"}:
            raise refuse(f"maximum ages for {', '.join(sorted(self.max_age_ns))}", "one for proc, qmp and guest each")
        if self.statistics != STATISTICS:
            raise refuse(f"statistics {', '.join(self.statistics)}", ", ".join(STATISTICS))

    @property
    def steps(self) -> int:
        """T: grid steps in a window."""
        return self.window_ns // self.step_ns

    @property
    def channel_ids(self) -> tuple[str, ...]:
        """The ids of all channels, in order."""
        return tuple(channel.id for channel in self.channels)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """`<channel id>:<statistic>` for every column of a summary, in order."""
        return feature_names(self.channel_ids)

    def canonical(self) -> bytes:
        """Canonical JSON: sorted keys, no white space, integers only, and no channel's columns at their defaults.

        By value: `omit_defaults` alone goes by identity, so a channel that was copied would print another way.
        """
        whole = msgspec.to_builtins(self)
        for channel in whole["channels"]:
            for name, default in _CHANNEL_DEFAULTS.items():
                if name in channel and channel[name] == default:
                    del channel[name]
        return msgspec.json.encode(whole, order="sorted")

    @property
    def hash(self) -> str:
        """sha256 of the canonical JSON, 64 hex digits. Stamped on whatever was made with this schema."""
        return hashlib.sha256(self.canonical()).hexdigest()


def feature_names(channel_ids: tuple[str, ...]) -> tuple[str, ...]:
    """The names of a summary's columns over some channels."""
    return tuple(f"{channel}:{statistic}" for channel in channel_ids for statistic in STATISTICS)


def feature_schema(channels: tuple[Channel, ...] | None = None) -> FeatureSchema:
    """This version's schema over the 46 channels, or over your own registry."""
    return FeatureSchema(channels=default_channels() if channels is None else channels)


def require_schema(found: str, schema: FeatureSchema, where: object) -> None:
    """Refuse what was made for another schema. Raises `SchemaMismatchError`."""
    if found != schema.hash:
        raise SchemaMismatchError(
            where,
            f"feature schema {found[:12]}…",
            expected=f"{schema.hash[:12]}…, which this program speaks",
            remedy="rebuild it with this version's trainer",
        )
