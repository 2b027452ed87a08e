"""What an evaluation finds, as it stands in `evaluation.json`: the report shows these figures and no others."""

from __future__ import annotations

import msgspec

from contracts.bundle.filter import Filter
from contracts.events.payloads import Interval
from trainer.curves import Curves
from trainer.split import Split


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Group(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Macro F1 over some of the held-out windows."""

    macro_f1: Interval
    episodes: int
    windows: int


class Calibration(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Temperature fitted on validation, and what it does on the held-out side.

    reliability: per bin of confidence (windows, mean confidence, accuracy), after.
    """

    temperature: float
    error_before: float
    error_after: float
    log_loss_before: float
    log_loss_after: float
    reliability_before: list[tuple[int, float, float]]
    reliability: list[tuple[int, float, float]]


class Abstention(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Below `threshold` of calibrated confidence the agent decides nothing; chosen on validation.

    coverage, risk: share of the held-out windows that are decided, and share of those decided wrongly (None where none
    is); `risk_all` without abstaining. curve: (coverage, risk) from the surest windows on; area: under it.
    """

    threshold: float
    coverage: float
    risk: float | None
    risk_all: float
    area: float
    curve: list[tuple[float, float]]


class ProfileAlarms(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agent's alarm over the episodes of one profile."""

    onsets: int
    missed: int
    median_delay_s: float | None
    false_alarms: int
    clean_hours: float


class Alarms(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agent's alarm over whole episodes.

    delays_s: from the onset of infection to the alarm, one per episode that was detected, in order of size; 0 where the
    alarm was on before. missed: episodes with an onset and no alarm while it lasted; found: the share of the others,
    None without an onset. false_alarms: raised in a clean window; per clean day with its interval by episode, and
    at_most_per_day, the one-sided 95 % bound that the clean hours allow.
    """

    onsets: int
    missed: int
    found: Interval | None
    delays_s: list[float]
    median_delay_s: Interval | None
    false_alarms: int
    clean_hours: float
    false_alarms_per_day: Interval | None
    at_most_per_day: float | None
    per_profile: dict[str, ProfileAlarms]


class Operating(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a threshold (log odds, nats) would have given on the held-out side."""

    raise_at: float
    false_alarms_per_day: float | None
    found: float | None
    median_delay_s: float | None


class Detection(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Infected windows against clean ones, by the probability of the infected classes together."""

    infected: int
    clean: int
    true_positive_rate: Interval
    """At a false positive rate of at most 1 % of the clean windows."""


class LeftOut(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Held-out windows of one profile, those in clean phases apart: the share flagged as unlike all learned from, where
    the profile was left out on purpose, and where it was learned from as usual."""

    windows: int
    flagged: Interval
    flagged_when_learned: Interval


class Unfamiliar(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The share of held-out windows that are flagged as unlike anything learned from, at 1 % of the validation side's.
    tuned: windows of that side; left_out: per profile."""

    tuned: int
    flagged: Interval
    left_out: dict[str, LeftOut]


class Worth(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a source is worth: macro F1 with it less without it. taken_away: at the test, as if it had failed; refitted:
    the model never had it (gbt alone)."""

    taken_away: Interval
    refitted: Interval | None


class ChannelWorth(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fall of macro F1 when a channel's windows are shuffled among each other: mean and deviation over repeats."""

    fall: float
    deviation: float


class ModelRecord(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model on the held-out side."""

    title: str
    architecture: str
    threat_model: str
    settings: dict[str, float]
    bytes: int
    operations: int
    curves: Curves
    validation_macro_f1: float
    macro_f1: Interval
    by_seed: dict[str, float]
    steady_macro_f1: Interval | None
    """The same architecture without the channels that creep or warm up."""
    per_class: dict[str, Interval]
    per_profile: dict[str, Group]
    per_host: dict[str, Group]
    by_purity: dict[str, Group]
    labels: list[str]
    confusion: list[list[int]]
    calibration: Calibration
    abstention: Abstention
    filter: Filter | None
    """Fitted on validation; None where the classes speak of no infection."""
    alarms: Alarms | None
    alarms_in_a_row: Alarms | None
    """By the rule of bundles without a filter: what the filter is worth."""
    filtered_macro_f1: Interval | None
    """Of the phases that the filter makes of the same windows."""
    curve: list[Operating]
    detection: Detection | None
    sources: dict[str, Worth]
    channels: dict[str, ChannelWorth]


class Pair(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Macro F1 of one model less another's, on the same resamples of episodes; p two-sided, then Holm's."""

    one: str
    other: str
    difference: Interval
    p: float | None
    p_holm: float | None


class Gap(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Oracle less realistic: what trusting the guest would buy."""

    architecture: str
    difference: Interval


class Creeping(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A channel that may encode the time since the start. correlation: the median over training episodes of the rank
    correlation of its windows' means with time; alone: what a model that sees nothing else reaches."""

    channel: str
    why: str
    correlation: float | None
    alone: Interval


class Leaks(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model may go by that says nothing of the guest's behaviour."""

    elapsed_time_alone: Interval
    host_macro_f1: float | None
    """How well the learned-from hosts are told apart by one window of an episode not seen; None for one host."""
    hosts: int
    creeping: list[Creeping]
    warnings: list[str]


class RecipeRecord(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One split, and all models on it, best first."""

    split: Split
    split_digest: str
    untested_classes: list[str]
    """Classes that the test side lacks: they are in no average."""
    models: list[ModelRecord]
    pairs: list[Pair]
    gaps: list[Gap]
    leaks: Leaks
    unfamiliar: dict[str, Unfamiliar]
    """Per threat model."""


class Evaluation(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`evaluation.json`."""

    format: str = "phasewatch evaluation 1"
    fits: str
    """Digest of the fits (`Fits.digest`) that were judged."""
    command: str
    versions: dict[str, str]
    code: str
    """Digest of the code that judged them."""
    schema_hash: str
    dataset_digest: str
    classes: list[str]
    arrays: bool
    """Windows that were made elsewhere (`write_dataset`), not extracted from recordings."""
    timed: bool
    """Whether windows have times; without, "elapsed time" is a window's number within its episode."""
    episodes: int
    windows: int
    left_out: dict[str, int]
    quick: bool
    seeds: list[int]
    tuned: bool
    replicates: int
    recipes: list[RecipeRecord]
