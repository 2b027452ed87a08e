"""The top floor: from a store of recorded episodes to signed bundles. Runs on a workstation, offline.

What other programs may import, and what keeps its meaning within a major version:

    from trainer import open_dataset, load_summary, load_tensor, load_tensor_lazy, write_dataset

`open_dataset(path)` gives a `Dataset`; the three loaders give its windows as `Samples` or `LazyWindows`;
`write_dataset` makes a dataset of arrays of your own (docs/datasets.md). All else is private. Nothing is loaded before
it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.dataset.from_arrays import write_dataset
    from trainer.dataset.open import load_summary, load_tensor, load_tensor_lazy, open_dataset

__all__ = ["load_summary", "load_tensor", "load_tensor_lazy", "open_dataset", "write_dataset"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "trainer.dataset.from_arrays" if name == "write_dataset" else "trainer.dataset.open"
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
