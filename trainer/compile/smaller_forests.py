"""Smaller forests than the one that was fitted: fewer rounds of it.

A native library takes about 31 bytes a node, so size is a matter of nodes; the curve of size against score says what
they are worth.
"""

from __future__ import annotations

import xgboost as xgb

from trainer.architectures.gbt import GbtModel

ROUNDS = (0.7, 0.5, 0.35, 0.25)
"""Shares of the fitted rounds; the last of them correct the least."""


def forests(model: GbtModel) -> dict[str, xgb.Booster]:
    """Boosters by form, the fitted one first, each smaller than the one before."""
    rounds = model.booster.num_boosted_rounds()
    found = {f"all {rounds} rounds": model.booster}
    for some in (max(1, round(share * rounds)) for share in ROUNDS):
        if some < rounds:
            found[f"{some} rounds"] = model.booster[:some]
    return found
