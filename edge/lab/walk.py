"""Phases as a random walk: the order is drawn, and how long each lasts. An episode is a stretch of a longer walk, so
that neither the time since its start nor the number of phases before says which phase it is.
"""

from __future__ import annotations

import math
import random
from typing import NamedTuple

from contracts.vocabulary import CLEAN, Phase
from edge.lab.recipe import Recipe

BURN_IN_S = 1200.0, 2400.0
"""The walk has begun so long before the episode, in `clean`: by then every phase is as likely as it is at any time."""


class Stay(NamedTuple):
    """One phase, from ms to ms of the episode; it may have begun before it, and end after it."""

    phase: Phase
    since_ms: int
    until_ms: int


def walk(recipe: Recipe, first_ms: int, last_ms: int, draw: random.Random) -> list[Stay]:
    """The phases of a stretch of time, in order."""
    at = first_ms - round(1000 * draw.uniform(*BURN_IN_S))
    phase: Phase = CLEAN
    stays = []
    while at < last_ms:
        until = at + round(1000 * log_uniform(draw, *recipe.phases[phase].seconds))
        if until > first_ms:
            stays.append(Stay(phase, at, until))
        after = recipe.after(phase)
        at, phase = until, draw.choices(list(after), list(after.values()))[0]
    return stays


def log_uniform(draw: random.Random, low: float, high: float) -> float:
    """As likely from 10 to 20 as from 100 to 200."""
    return math.exp(draw.uniform(math.log(low), math.log(high)))
