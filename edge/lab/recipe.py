"""A recipe: which hosts, how long, and how phases follow each other. firmware-config/lab/corpus.toml is the sample."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from contracts.errors import ConfigError
from contracts.types import Name
from contracts.vocabulary import CLEAN, PHASES, Phase
from edge.config.places import Places
from edge.config.toml import nearest, read_toml

LEAST_S = 10.0
"""A phase shorter than a window could never be told."""
MOST_S = 3600.0
Range = tuple[float, float]
"""From, to."""
_UNKNOWN = re.compile(r"unknown field `(.*)`$")
_MISSING = re.compile(r"missing required field `(.*)`$")


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class PhaseTable(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[phases.clean]` and the like. seconds: its length, drawn on a log scale; next: weights of what comes then."""

    seconds: Range
    next: dict[str, Annotated[float, msgspec.Meta(gt=0, le=1e6)]]


class Host(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[host]]`: one configuration of guest. cores: its CPU quota; own_variants: of each profile, found here alone."""

    id: Name
    machine: Literal["q35", "microvm", "virt"]
    cpus: Annotated[int, msgspec.Meta(ge=1, le=4)] = 1
    memory_mb: Annotated[int, msgspec.Meta(ge=96, le=2048)] = 160
    cores: Annotated[float, msgspec.Meta(ge=0.1, le=4)] = 1.0
    own_variants: Annotated[int, msgspec.Meta(ge=0, le=9)] = 0


class Recipe(_Table, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. everyday: share of the episodes that stay clean; variants: of each profile, on every host."""

    name: Name
    episodes: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    everyday: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.3
    minutes: Range = (3.0, 7.0)
    settle_s: Range = (30.0, 60.0)
    variants: Annotated[int, msgspec.Meta(ge=1, le=99)] = 4
    parallel: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    phases: dict[str, PhaseTable]
    host: Annotated[list[Host], msgspec.Meta(min_length=1, max_length=64)]

    def after(self, phase: Phase) -> dict[Phase, float]:
        """What may follow, by weight."""
        return {next: self.phases[phase].next[next] for next in PHASES if next in self.phases[phase].next}


def read_recipe(path: Path) -> Recipe:
    """Raises `MissingError`, `UnreadableError`, `BoundError`, `ConfigError`."""
    said, text = read_toml(path)
    places = Places(text)

    def refuse(found: str, remedy: str, table: str = "", index: int = 0, key: str = "") -> ConfigError:
        line = places.line(table, index, key)
        where = path if line is None else f"{path}:{line}"
        return ConfigError(where, found, expected="a recipe as firmware-config/lab/corpus.toml", remedy=remedy)

    try:
        recipe = msgspec.convert(said, Recipe)
    except msgspec.ValidationError as error:
        found, _, at = str(error).partition(" - at `$")
        table, index, key = _place(said, at.strip("`").strip("."))
        if unknown := _UNKNOWN.search(found):
            fields = {"": Recipe, "host": Host}.get(table, PhaseTable).__struct_fields__
            raise refuse(f"unknown key `{unknown[1]}`", nearest(unknown[1], fields), table, index, unknown[1]) from None
        if missing := _MISSING.search(found):
            raise refuse(f"no `{missing[1]}`", f"say {missing[1]} = …", table, index, "") from None
        raise refuse(f"`{key or table}`: {found}", "correct that line", table, index, key) from None
    _check(recipe, refuse)
    return recipe


def _place(said: dict[str, Any], at: str) -> tuple[str, int, str]:
    """Table, index and key of a place as msgspec writes it: `host[0].cpus`, `phases[...].seconds`, `episodes`."""
    if found := re.match(r"host\[(\d+)\]\.?(\w*)", at):
        return "host", int(found[1]), found[2]
    if found := re.match(r"phases\[\.\.\.\]\.?(\w*)", at):  # it does not tell which: the first that has the fault
        for name, table in said["phases"].items():
            try:
                msgspec.convert(table, PhaseTable)
            except msgspec.ValidationError:
                return f"phases.{name}", 0, found[1]
    return "", 0, at.partition("[")[0].partition(".")[0]


def _check(recipe: Recipe, refuse: Any) -> None:
    """What the types alone do not catch."""
    for name, low, high in (("minutes", LEAST_S / 60, 24 * 60.0), ("settle_s", 5.0, MOST_S)):
        _check_range(
            getattr(recipe, name),
            low,
            high,
            lambda found, n=name: refuse(f"`{n}`: {found}", "correct that line", "", 0, n),
        )
    for name, table in recipe.phases.items():
        place = f"phases.{name}"
        if name not in PHASES:
            raise refuse(f"no phase `{name}`", nearest(name, PHASES), place)
        _check_range(
            table.seconds, LEAST_S, MOST_S,
            lambda found, p=place: refuse(f"`seconds`: {found}", "a window takes 10 s", p, 0, "seconds"),
        )  # fmt: skip
        for next in table.next:
            if next not in recipe.phases or next == name:
                found = f"after `{name}` comes `{next}`"
                raise refuse(
                    found, f"one of {', '.join(one for one in recipe.phases if one != name)}", place, 0, "next"
                )
    if CLEAN not in recipe.phases:
        raise refuse("no [phases.clean]", "every walk begins there", "", 0, "phases")
    if recipe.everyday < 1 and not recipe.phases[CLEAN].next:
        raise refuse("nothing comes after `clean`", "name what does, or say everyday = 1.0", "phases.clean", 0, "next")
    for name, table in recipe.phases.items():
        if not table.next and recipe.everyday < 1:
            raise refuse(f"nothing comes after `{name}`", "name what does", f"phases.{name}", 0, "next")
    seen: set[str] = set()
    for i, host in enumerate(recipe.host):
        if host.id in seen:
            raise refuse(f"host `{host.id}` is there twice", "give each its own id", "host", i, "id")
        seen.add(host.id)
        if host.cores > host.cpus:
            found = f"{host.cores:g} cores for {host.cpus} CPU{'s' * (host.cpus > 1)}"
            raise refuse(found, "give it as many cores as CPUs at most", "host", i, "cores")


def _check_range(found: Range, low: float, high: float, refuse: Any) -> None:
    first, last = found
    if not low <= first <= last <= high:
        raise refuse(f"from {first:g} to {last:g}, and it must lie between {low:g} and {high:g}, the less first")
