"""A recipe and a seed make a plan: every episode to the millisecond, the same each time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec

from contracts.files import sha256
from contracts.vocabulary import CLEAN, PROFILES, Phase
from edge.lab.behaviours import infected, variant
from edge.lab.everyday import Did, background, bursts
from edge.lab.places import Ports, draw_ports
from edge.lab.recipe import Host, Recipe
from edge.lab.walk import Stay, walk
from edge.lab.works import Order, Works

EVERYDAY = "everyday"
"""The profile of an episode that stays clean."""
GAP_S = {True: (70.0, 200.0), False: (150.0, 500.0)}
"""Seconds between bursts of everyday work: in episodes that stay clean, and in others."""
VERSION = 1
"""Of what a recipe and a seed make: another plan for the same two is another version."""


class Mark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The start of a phase, ms since the episode's start."""

    at_ms: int
    phase: Phase


class Planned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One episode. settle_ms: how long the guest has been at work when recording begins."""

    version: int = VERSION
    recipe: str
    seed: int
    index: int
    host: Host
    episode_id: str
    profile: str
    sample_name: str
    parameters: dict[str, int]
    settle_ms: int
    length_ms: int
    ports: Ports
    marks: list[Mark]
    orders: list[Order]
    did: list[Did]

    @property
    def digest(self) -> str:
        """sha256 of all of it."""
        return sha256(msgspec.json.encode(self))

    @property
    def sample(self) -> dict[str, Any]:
        """As a manifest says it: times in seconds since the start."""
        return {
            "recipe": self.recipe,
            "seed": self.seed,
            "index": self.index,
            "plan_sha256": self.digest,
            "settle_s": self.settle_ms / 1000,
            "parameters": self.parameters,
            "everyday": [[did.what, did.since_ms / 1000, did.until_ms / 1000] for did in self.did],
        }


def plan(recipe: Recipe, seed: int) -> list[Planned]:
    """All episodes, in the order in which they are recorded: hosts take turns."""
    return [_episode(recipe, seed, index) for index in range(recipe.episodes)]


def _episode(recipe: Recipe, seed: int, index: int) -> Planned:
    count, which = divmod(index, len(recipe.host))
    host = recipe.host[which]
    draw = _draw(recipe, seed, index)
    stays_clean = _stays_clean(recipe, count, which)
    profile, sample = (EVERYDAY, host.id) if stays_clean else _variant(recipe, seed, count, which)
    settle = round(1000 * draw.uniform(*recipe.settle_s))
    length = round(60_000 * draw.uniform(*recipe.minutes))
    ports = draw_ports(draw)
    works = Works(-settle, length, draw, ports)
    did = background(works) + bursts(works, draw.uniform(*GAP_S[stays_clean]))
    parameters: dict[str, int] = {}
    stays: list[Stay] = [Stay(CLEAN, -settle, length)]
    if not stays_clean:
        parameters = variant(profile, sample)
        stays = walk(recipe, -settle, length, draw)
        infected(works, stays, profile, parameters)
    return Planned(
        recipe=recipe.name,
        seed=seed,
        index=index,
        host=host,
        episode_id=f"{recipe.name}-{seed}-{index:04d}",
        profile=profile,
        sample_name=sample,
        parameters=parameters,
        settle_ms=settle,
        length_ms=length,
        ports=ports,
        marks=_marks(stays, length),
        orders=works.orders,
        did=did,
    )


def _marks(stays: Sequence[Stay], length: int) -> list[Mark]:
    return [
        Mark(at_ms=max(0, stay.since_ms), phase=stay.phase)
        for stay in stays
        if stay.until_ms > 0 and stay.since_ms < length
    ]


def _stays_clean(recipe: Recipe, count: int, which: int) -> bool:
    """So many of each host's episodes as the recipe says, spread over them, and not on all hosts at once."""
    share, offset = recipe.everyday, which / len(recipe.host)
    return int((count + 1) * share + offset) > int(count * share + offset)


def _variant(recipe: Recipe, seed: int, count: int, which: int) -> tuple[str, str]:
    """Each host goes through the profiles in an order of its own, and through its variants by chance, its own first."""
    host = recipe.host[which]
    before = sum(not _stays_clean(recipe, earlier, which) for earlier in range(count))
    turn, at = divmod(before, len(PROFILES))
    order = list(PROFILES)
    _draw(recipe, seed, host.id).shuffle(order)
    profile = order[at]
    first = 1 + recipe.variants + sum(one.own_variants for one in recipe.host[:which])
    own = [f"s{number:02d}" for number in range(first, first + host.own_variants)]
    everywhere = [f"s{number:02d}" for number in range(1, recipe.variants + 1)]
    draw = _draw(recipe, seed, f"{host.id}/{profile}/{turn}")
    return profile, draw.choice(own if own and draw.random() < 0.35 else everywhere)


def _draw(recipe: Recipe, seed: int, what: object) -> random.Random:
    return random.Random(f"{recipe.name}/{seed}/{what}")  # noqa: S311 - a plan, not a secret
