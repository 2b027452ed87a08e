"""The six events, their envelope (CloudEvents 1.0, structured JSON) and their MQTT topics.

`source` and `id` together name an event: ids derive from content, so a resend keeps its id and a second replay of the
same episode yields the same window events byte for byte.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

from contracts.errors import RowError
from contracts.phases import Phase, Source

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Whole = Annotated[int, msgspec.Meta(ge=0)]
Hash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Flag = Literal["clock_step", "degraded", "rows_dropped", "unsigned_bundle"]
"""clock_step: the wall clock jumped inside the window. degraded: a source is absent or was mostly not observed.
rows_dropped: more rows came than the ring holds. unsigned_bundle: nobody vouches for the model."""
Basis = Literal["scorecard", "running"]
"""scorecard: measured by the trainer on its held-out side. running: measured here, on windows whose truth is known."""


class _Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class BundleRef(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model spoke, through which runtime, and the key that vouches for it."""

    name: str
    digest: Hash
    runtime: str
    key: str | None


class EpisodeData(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An episode or a live watch starts or ends. Counts are known at its end."""

    state: Literal["started", "ended"]
    mode: Literal["live", "replay"]
    host_id: str
    guest_id: str
    episode_id: str
    profile: str | None = None
    sample_name: str | None = None
    bundle: BundleRef
    started_wall_ns: Whole
    ended_wall_ns: Whole | None = None
    windows: Whole | None = None
    gaps: dict[Source, Whole] | None = None
    """Windows in which a source was not wholly observed."""


class TopChannel(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a channel is from what training saw, weighted by what the model makes of that channel."""

    channel: str
    score: float


class WindowData(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One window. `decided` is null when the model abstained. `latency_ms` is null in a replay: see `perf` there."""

    episode_id: str
    mode: Literal["live", "replay"]
    bundle: BundleRef
    start_wall_ns: Whole
    end_wall_ns: Whole
    probabilities: dict[Phase, Share]
    decided: Phase | None
    truth: Phase | None
    purity: Share | None
    observed: dict[Source, Share]
    top_channels: list[TopChannel]
    latency_ms: float | None
    flags: list[Flag]


class Interval(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A figure with its 95 % interval (null where fewer than two episodes can be resampled)."""

    value: float
    low: float | None
    high: float | None


class Paired(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """This model's macro F1 less the runner-up's (or, for all but the best, less the best's), on the same windows."""

    against: str
    difference: Interval


class MetricsData(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How good the model is."""

    basis: Basis
    bundle: BundleRef
    recipe: str
    episodes: Whole
    windows: Whole
    macro_f1: Interval
    per_class: dict[Phase, Share]
    per_host: dict[str, Share]
    paired: Paired | None


class ConfusionData(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`matrix[i][j]`: windows of truth `labels[i]` decided as `labels[j]`, over the union of seen labels."""

    basis: Basis
    bundle: BundleRef
    labels: list[Phase]
    matrix: list[list[Whole]]


class ProfileScore(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Macro F1 over the windows of one profile."""

    macro_f1: Share
    episodes: Whole
    windows: Whole


class ProfilesData(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Scores by profile. Those in `untested_profiles` were never tested and are in no average."""

    basis: Basis
    bundle: BundleRef
    profiles: dict[str, ProfileScore]
    untested_profiles: list[str]


class Latency(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Percentiles in milliseconds over the last period; null where nothing happened."""

    count: Whole
    p50: float | None
    p95: float | None
    p99: float | None


class PerfData(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the agent costs. `cpu_share` is in cores; temperature and throttling are null off a Raspberry Pi."""

    period_s: float
    extraction_ms: Latency
    inference_ms: Latency
    publish_ms: Latency
    rss_bytes: Whole
    cpu_share: float
    outbox_depth: Whole
    dropped: Whole
    temperature_c: float | None
    throttled: bool | None


Data = EpisodeData | WindowData | MetricsData | ConfusionData | PerfData | ProfilesData
D = TypeVar("D")


class Event(msgspec.Struct, Generic[D], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A CloudEvents 1.0 envelope. `featureschema` (an extension attribute) is the feature-schema hash."""

    specversion: Literal["1.0"]
    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]
    source: str
    type: str
    time: str
    datacontenttype: Literal["application/json"]
    featureschema: Hash
    data: D


class EventKind(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of event travels."""

    name: str
    type_name: str
    data: type[Data]
    qos: int
    retain: bool


EVENT_KINDS: tuple[EventKind, ...] = (
    EventKind(name="episode", type_name="phasewatch.episode.v1", data=EpisodeData, qos=1, retain=False),
    EventKind(name="window", type_name="phasewatch.window.v1", data=WindowData, qos=1, retain=False),
    EventKind(name="metrics", type_name="phasewatch.metrics.v1", data=MetricsData, qos=1, retain=True),
    EventKind(name="confusion", type_name="phasewatch.confusion.v1", data=ConfusionData, qos=1, retain=True),
    EventKind(name="perf", type_name="phasewatch.perf.v1", data=PerfData, qos=0, retain=False),
    EventKind(name="profiles", type_name="phasewatch.profiles.v1", data=ProfilesData, qos=1, retain=True),
)

CONTENT_TYPE = "application/cloudevents+json"
Availability = Literal["online", "stopped", "offline"]
"""The retained payload of `phasewatch/<node>/availability`: running, ended cleanly, or (by last will) gone."""

_decoders = {kind.type_name: msgspec.json.Decoder(Event[kind.data]) for kind in EVENT_KINDS}  # type: ignore[name-defined]
_encoder = msgspec.json.Encoder()
_sorted = msgspec.json.Encoder(order="sorted")


def kind_of(data: Data) -> EventKind:
    """The kind whose payload this is."""
    return next(kind for kind in EVENT_KINDS if kind.data is type(data))


def topic(node: str, guest: str, kind: EventKind) -> str:
    """`phasewatch/<node>/<guest>/<event>`."""
    return f"phasewatch/{node}/{guest}/{kind.name}"


def availability_topic(node: str) -> str:
    """`phasewatch/<node>/availability`."""
    return f"phasewatch/{node}/availability"


def rfc3339(t_wall_ns: int) -> str:
    """Unix ns as RFC 3339 in UTC, with all nine digits."""
    seconds, rest = divmod(t_wall_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def make_event(data: Data, *, node: str, guest: str, t_wall_ns: int, schema_hash: str) -> Event[Data]:
    """Put an envelope around a payload. The id is 128 bits of sha256 over all the rest."""
    event = Event(
        specversion="1.0",
        id="0" * 32,
        source=f"/phasewatch/{node}/{guest}",
        type=kind_of(data).type_name,
        time=rfc3339(t_wall_ns),
        datacontenttype="application/json",
        featureschema=schema_hash,
        data=data,
    )
    return msgspec.structs.replace(event, id=hashlib.sha256(_sorted.encode(event)).hexdigest()[:32])


def encode_event(event: Event[Data]) -> bytes:
    """Structured-mode JSON."""
    return _encoder.encode(event)


def decode_event(payload: bytes, where: object = "event") -> Event[Data]:
    """The event in a payload. Raises `RowError`."""
    try:
        decoder = _decoders[msgspec.json.decode(payload, type=_Typed).type]
        event: Event[Data] = decoder.decode(payload)
    except KeyError as error:
        raise RowError(
            where, f"type {error}", expected="one of the six events", remedy="use matching versions on both sides"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RowError(
            where, str(error), expected="a CloudEvents 1.0 document", remedy="use matching versions on both sides"
        ) from None
    return event


class _Typed(msgspec.Struct):
    type: str


def json_schema(kind: EventKind) -> dict[str, Any]:
    """JSON Schema 2020-12 of one kind of event, envelope and all."""
    (reference,), definitions = msgspec.json.schema_components(
        [Event[kind.data]],  # type: ignore[name-defined]
        ref_template="#/$defs/{name}",
    )
    envelope = definitions.pop(reference["$ref"].rpartition("/")[2])
    envelope["properties"]["type"] = {"const": kind.type_name}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **envelope,
        "title": kind.type_name,
        "$defs": definitions,
    }
