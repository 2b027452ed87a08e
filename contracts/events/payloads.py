"""What the events carry: one payload type each. `contracts/events/envelope.py` puts them into envelopes."""

from __future__ import annotations

from typing import Literal

import msgspec

from contracts.types import Sha256, Share, Whole
from contracts.vocabulary import Doubt, Phase, Source

Flag = Literal["clock_step", "degraded", "rows_dropped", "unsigned_bundle", "unfiltered", "unfamiliar"]
"""clock_step: the wall clock jumped inside the window. degraded: a source is absent or was mostly not observed.
rows_dropped: more rows came than the ring holds. unsigned_bundle: nobody vouches for the model. unfiltered: its bundle
has no filter, so that two windows in a row make an alarm. unfamiliar: fewer than 1 % of the windows that the model was
tuned by are as unlike all that it learned from."""
Basis = Literal["scorecard", "running"]
"""scorecard: measured by the trainer on its held-out side. running: measured here, on windows whose truth is known."""


class _Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class BundleRef(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model spoke, through which runtime, and the key that vouches for it."""

    name: str
    digest: Sha256
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


class ShadowWindow(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model that rides along would have decided; nothing follows from it."""

    bundle: BundleRef
    probabilities: dict[Phase, Share]
    decided: Phase | None


class Nearest(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a window is least unlike, of all that was learned from. p: the share of the windows that the model was tuned
    by that are as unlike (split conformal); tested: whether that profile was on the held-out side."""

    profile: str
    tested: bool
    p: Share


class ClockSet(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The wall clock was set since the window before. skipped: windows that lay wholly in the time it jumped over."""

    moved_ns: int
    skipped: Whole


class WindowData(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One window. `decided` is null when the model abstained; `probabilities` are all 0 where it gave no numbers. Both
    are of this window alone; `phase` and `infected`, the most probable phase and the probability of an infection, are
    the filter's, given all windows until now (null where the bundle has none), and `alarm` goes by it.
    `nearest`: on an unfamiliar window, what it is least unlike.
    `doubted`: sources that are there and are not believed, and why: they count as not observed. `impossible`: per
    source, readings or flow records that cannot be, and were left out. `clock_set`: on the first window after it
    happened. `evidence`: where an alarm rises, the episode that keeps the rows around it.

    Nothing here depends on how the rows came: a live watch and a replay of its recording give the same windows. Whether
    a watch is live is in its `episode` event, what it costs in `perf`."""

    episode_id: str
    bundle: BundleRef
    start_wall_ns: Whole
    end_wall_ns: Whole
    probabilities: dict[Phase, Share]
    decided: Phase | None
    phase: Phase | None = None
    infected: Share | None = None
    alarm: bool
    truth: Phase | None
    purity: Share | None
    observed: dict[Source, Share]
    top_channels: list[TopChannel]
    flags: list[Flag]
    doubted: dict[Source, Doubt] = {}
    impossible: dict[Source, Whole] = {}
    clock_set: ClockSet | None = None
    evidence: str | None = None
    shadow: ShadowWindow | None = None
    nearest: Nearest | None = None

    @property
    def told(self) -> Phase | None:
        """The phase to show: the filter's, or this window's own where there is no filter."""
        return self.phase or self.decided


class Interval(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A figure with its 95 % interval (null where fewer than two episodes can be resampled)."""

    value: float
    low: float | None
    high: float | None

    def shown(self, form: str = ".3f", without: str = "") -> str:
        """`0.751 [0.682, 0.817]`; without: what is said where there is no interval."""
        if self.low is None or self.high is None:
            return f"{self.value:{form}}{without}"
        return f"{self.value:{form}} [{self.low:{form}}, {self.high:{form}}]"


class Paired(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """This model's macro F1 less the runner-up's (or, for all but the best, less the best's), on the same windows."""

    against: str
    difference: Interval


class ShadowScore(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A shadow on windows whose truth is known. difference: its macro F1 less the running model's, paired by episode;
    disagreement: share of windows on which the two decide unlike."""

    bundle: BundleRef
    windows: Whole
    macro_f1: Interval
    difference: Interval
    disagreement: Interval


class AlarmScore(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agent's alarm over whole held-out episodes. onsets: episodes with an infection; missed: those without an
    alarm while it lasted; found: the share of the others; median_delay_s: from the onset; clean_hours: in how many the
    false alarms were counted; at_most_per_day: the upper 95 % bound of their rate that so few hours allow. Older
    bundles say neither `found` nor `at_most_per_day`."""

    onsets: Whole
    missed: Whole
    median_delay_s: Interval | None
    clean_hours: float
    false_alarms_per_day: Interval | None
    found: Interval | None = None
    at_most_per_day: float | None = None


class MetricsData(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How good the model is: macro F1 over the classes that have truth. untested_classes: those without, of which no
    score says anything; undecided: windows for which the model gave no numbers, and which are in no score."""

    basis: Basis
    bundle: BundleRef
    recipe: str
    episodes: Whole
    windows: Whole
    macro_f1: Interval
    per_class: dict[Phase, Share]
    per_host: dict[str, Share]
    paired: Paired | None
    untested_classes: list[Phase] = []
    undecided: Whole = 0
    shadow: ShadowScore | None = None
    alarms: AlarmScore | None = None
    """Of a scorecard; null where its classes speak of no infection, or the bundle is an older one."""


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


class ShadowCost(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a shadow costs, and how often it decides unlike the running model, over all windows that both saw."""

    bundle: BundleRef
    inference_ms: Latency
    windows: Whole
    disagreement: Interval


class SourcePerf(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source of a live guest. `rows`, `failures` (times it was lost or could not be opened), `skipped` (ticks that
    came too late), `late` (rows that came too late, or were too many) and `counts` are since the agent began.
    `took_ms`: one read. `lag_ms`: proc and qmp, behind their tick; guest, its line behind the quickest of late;
    netflow, from a flow's end to its arrival. `observed`: mean share over the windows since the last report, null if
    there was none. `notes`: fields that cannot be read, and why."""

    up: bool
    problem: str | None
    rows: Whole
    failures: Whole
    skipped: Whole
    late: Whole
    took_ms: Latency
    lag_ms: Latency
    observed: Share | None
    counts: dict[str, Whole] = {}
    notes: dict[str, str] = {}


class PerfData(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the agent costs. `cpu_share` is in cores; temperature and throttling are null off a Raspberry Pi.
    `lateness_ms`: from a live window's settling to its event in the outbox. `disk_free_bytes`: where the outbox is.
    `sources`: of a live guest. `drift`: per channel, the population stability index of what was seen in the last hour
    against the bundle's training side (0.1 is little, 0.25 much); empty until there is enough to say."""

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
    lateness_ms: Latency | None = None
    disk_free_bytes: Whole | None = None
    sources: dict[Source, SourcePerf] = {}
    drift: dict[str, float] = {}
    shadow: ShadowCost | None = None


Cause = Literal["outbox_full", "too_old", "refused", "dropped_by_hand", "outbox_damaged"]
"""outbox_full, too_old: the outbox is bounded. refused: the broker would not have them, three times; they are set aside
and may yet come. dropped_by_hand: they were set aside, and somebody gave them up. outbox_damaged: its file could not be
read, and nobody knows how many there were."""


class Run(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Places in a row, both ends included."""

    first: Whole
    last: Whole


class GapData(_Data, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events that will not come, or not soon. stream: their `source`; ranges: their places, as `sequence` counts them;
    count: how many events, null where nobody knows."""

    stream: str
    cause: Cause
    ranges: list[Run]
    count: Whole | None
    why: str | None = None
