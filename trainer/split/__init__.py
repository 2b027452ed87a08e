"""Honest splits: by whole episodes, never by window. One file per recipe; `base` applies one twice and checks."""

from __future__ import annotations

from typing import get_args

from contracts.errors import ConfigError
from trainer.split.held_out_host import HeldOutHost
from trainer.split.held_out_sample import HeldOutSample
from trainer.split.held_out_time import HeldOutTime
from trainer.split.recipe import Recipe, make_split
from trainer.split.saved import RecipeName, Split, load_split, save_split

RECIPES: tuple[RecipeName, ...] = get_args(RecipeName)

__all__ = ["RECIPES", "Recipe", "RecipeName", "Split", "load_split", "make_split", "recipe_named", "save_split"]


def recipe_named(name: str, embargo_s: int) -> Recipe:
    """A recipe by its name. Raises `ConfigError`."""
    made: dict[str, Recipe] = {
        "held_out_host": HeldOutHost(),
        "held_out_sample": HeldOutSample(),
        "held_out_time": HeldOutTime(embargo_s),
    }
    if name not in made:
        raise ConfigError("--recipe", f"no recipe {name!r}", expected=", ".join(RECIPES), remedy="name one of those")
    return made[name]
