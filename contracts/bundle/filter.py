"""How a model is listened to over time: what turns one window's probabilities after another into phase and alarm."""

from __future__ import annotations

from typing import Annotated

import msgspec

from contracts.types import Share, Whole

LogOdds = Annotated[float, msgspec.Meta(ge=-100, le=100)]
Amount = Annotated[float, msgspec.Meta(ge=0)]


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A hidden Markov model over K phases, and when its alarm rises (`edge.alarm.forward`).

    start: (K,) what a guest is taken for before its first window; transitions: (K, K) from one window to the next, a
    stride later, rows that sum to 1. The alarm rises where the log odds of being infected reach `raise_at`, and is over
    where they fall below `clear_below`; in nats.
    """

    start: tuple[Share, ...]
    transitions: tuple[tuple[Share, ...], ...]
    stride_ns: Annotated[int, msgspec.Meta(gt=0, le=2**62)]
    raise_at: LogOdds
    clear_below: LogOdds
    budget_per_day: Annotated[float, msgspec.Meta(gt=0)]
    """False alarms a clean day that `raise_at` was chosen for."""
    clean_hours: Amount
    false_alarms: Whole
    """Of the validation side, at these thresholds: hours without an infection, and alarms in them."""
    supported_per_day: Amount | None
    """What those hours can support: the upper 95 % bound of a rate with so many alarms in so many hours. None where
    there were no clean hours."""
