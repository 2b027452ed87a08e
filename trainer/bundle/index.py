"""`index.json`: the bundles of one build, best first."""

from __future__ import annotations

import msgspec

from contracts.events.payloads import AlarmScore, Interval, Paired
from contracts.types import Share, Whole
from contracts.vocabulary import ThreatModel


class RuntimeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One artifact in one runtime on the machine that built it: a window's time in ms, model alone."""

    runtime: str
    p50_ms: float
    p99_ms: float
    argmax_agreement: Share
    """Share of held-out windows on which it decides like the model."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One bundle: `bundle` is its path below the build's folder."""

    bundle: str
    form: str
    """How it was compiled: `dynamic int8`, `all 236 rounds` and the like."""
    architecture: str
    threat_model: ThreatModel
    macro_f1: Interval
    alarms: AlarmScore | None
    """None where the classes speak of no infection."""
    paired: Paired | None
    model_macro_f1: Share
    argmax_agreement: Share
    max_probability_difference: Share
    artifact_bytes: dict[str, Whole]
    size: Whole
    """Bytes of the artifact that runs on this machine."""
    bundle_bytes: Whole
    signed_by: str | None
    runtimes: tuple[RuntimeFigures, ...]


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """A build: what was held out, and the bundles by macro F1 on it."""

    recipe: str
    held_out: tuple[str, ...]
    untested_profiles: tuple[str, ...]
    untested_classes: tuple[str, ...]
    seen_samples: tuple[str, ...]
    elapsed_time_alone: Interval
    warnings: tuple[str, ...]
    """What the leak check has to say of these scores."""
    schema_hash: str
    corpus_digest: str
    split_digest: str
    bundles: tuple[Entry, ...]
    refused: dict[str, str]
    """Models that are not shipped, and why."""
