"""What a bundle was made from, by what, and how: the same inputs give the same bytes, so no time and no path."""

from __future__ import annotations

import platform
import shlex
from typing import TYPE_CHECKING

import msgspec

from contracts.events.payloads import Interval
from contracts.features.schema import feature_schema
from contracts.types import Share
from trainer.versions import library_versions

if TYPE_CHECKING:
    from trainer.plan import BuildPlan

MEMBER = "provenance.json"


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """code: sha256 over the sources of contracts, edge and trainer. command: all options that decide what is made.
    machine: where the artifact was run and proven. split: its digest is the manifest's, too."""

    dataset: str
    schema_hash: str
    split: str
    recipe: str
    held_out: tuple[str, ...]
    command: str
    settings: dict[str, float]
    form: str
    version: str
    code: str
    python: str
    machine: str
    libraries: dict[str, str]
    macro_f1: Interval
    model_macro_f1: Share


def command_of(plan: BuildPlan) -> str:
    """`trainer build` as it would have to be typed again, but for the places."""
    fit = plan.fit
    options = [
        *("--architectures", ",".join(fit.architectures)),
        *("--threat-models", ",".join(fit.threat_models)),
        *("--recipe", ",".join(recipe.name for recipe in fit.recipes)),
        *("--seed", ",".join(map(str, fit.seeds))),
    ]
    options += ["--held-out", fit.held_out] if fit.held_out is not None else []
    options += [f"--embargo={recipe.embargo_s}" for recipe in fit.recipes if recipe.name == "held_out_time"]
    options += ["--quick"] if fit.quick else []
    if fit.search is not None:
        options += ["--tune", str(fit.search.trials)]
        options += [f"--max-kb={fit.search.max_bytes // 1000}", f"--max-mops={fit.search.max_operations // 10**6}"]
    own = plan.schema is not None and plan.schema.hash != feature_schema().hash
    options += ["--channels", "FILE"] if own else []
    options += ["--include-degraded"] if plan.degraded else []
    options += ["--allow-float"] if plan.allow_float else []
    return shlex.join(["trainer", "build", "STORE", "--out", "DIR", *options])


def made_by() -> dict[str, str]:
    """Python and machine, as `Provenance` names them."""
    return {"python": platform.python_version(), "machine": platform.machine()}


def libraries() -> dict[str, str]:
    """All but ourselves."""
    return {name: version for name, version in library_versions().items() if name != "phasewatch"}
