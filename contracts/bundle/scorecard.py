"""What a bundle says of its own model: how good it was on the held-out side, and what its inputs looked like."""

from __future__ import annotations

import msgspec

from contracts.events.payloads import AlarmScore, Interval, Paired, ProfileScore
from contracts.types import Share, Whole


class Scorecard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Scores of the shipped artifact (not of the model it was compiled from) on the held-out side."""

    recipe: str
    held_out: tuple[str, ...]
    episodes: Whole
    windows: Whole
    macro_f1: Interval
    model_macro_f1: Share
    """The trained model's own, before it was compiled."""
    argmax_agreement: Share
    """Share of held-out windows on which artifact and model decide alike, in the worst runtime."""
    max_probability_difference: Share
    """Over the same windows, in the worst runtime."""
    per_class: dict[str, Share]
    per_host: dict[str, Share]
    untested_classes: tuple[str, ...]
    """Classes of which the held-out side had no window: they are in no average."""
    labels: tuple[str, ...]
    """Of the rows and columns of `confusion`: classes that were true or decided."""
    confusion: tuple[tuple[Whole, ...], ...]
    profiles: dict[str, ProfileScore]
    untested_profiles: tuple[str, ...]
    seen_samples_share: Share
    """Share of the held-out windows whose sample (variant of a profile) was learned from, on another host."""
    elapsed_time_alone: Interval
    """Macro F1 on the same windows of a model that sees only how long the episode has run."""
    calibration_error: Share
    """Expected calibration error on the same windows, after the manifest's temperature."""
    paired: Paired | None
    alarms: AlarmScore | None = None
    """None where the classes speak of no infection, and in older bundles."""


class Bins(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the training windows' means of one channel lay: edges ascending, each the last value of its bin, and the
    share of windows in each of the `len(edges) + 1` bins."""

    edges: tuple[float, ...]
    shares: tuple[Share, ...]


class Reference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Per channel of the model's view: mean and standard deviation over the training windows' means, and importance:
    how much the validation log loss (nats) rises when the channel is taken away."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    importance: tuple[float, ...]
    bins: tuple[Bins, ...] | None = None
    """What drift is measured against; older bundles have none."""
