"""Smaller forests than the one that was fitted: fewer rounds of it, and shallower trees fitted anew.

A native library takes about 31 bytes a node, so size is a matter of nodes; the curve of size against score says what
they are worth.
"""

from __future__ import annotations

from collections.abc import Iterator

import xgboost as xgb

from trainer.architectures.base import FitSettings
from trainer.architectures.gbt import Gbt, GbtModel
from trainer.corpus.side import Side
from trainer.jobs import Job

ROUNDS = (0.7, 0.5, 0.35, 0.25)
"""Shares of the fitted rounds; the last of them correct the least."""
DEPTHS = (3, 2)
FASTER = 3
"""Shallower trees learn at so many times the rate: a third of the rounds, or nothing is saved."""


def forests(model: GbtModel, job: Job, train: Side, validation: Side) -> Iterator[tuple[str, xgb.Booster]]:
    """(form, booster), the fitted one first. The same model and seed give the same forests."""
    rounds = model.booster.num_boosted_rounds()
    yield f"all {rounds} rounds", model.booster
    for some in dict.fromkeys(max(1, round(share * rounds)) for share in ROUNDS):
        if some < rounds:
            yield f"{some} rounds", model.booster[:some]
    gbt = Gbt()
    settings = gbt.resolved(job.settings, quick=job.quick)
    fastest = next(knob.high for knob in gbt.knobs if knob.name == "rate")
    for depth in DEPTHS:
        if depth < settings["depth"]:
            shallow = {**job.settings, "depth": depth, "rate": min(fastest, FASTER * settings["rate"])}
            fitted = gbt.fit(train, validation, FitSettings(seed=job.seed, quick=job.quick, settings=shallow)).model
            assert isinstance(fitted, GbtModel)
            yield f"depth {depth}, fitted anew", fitted.booster
