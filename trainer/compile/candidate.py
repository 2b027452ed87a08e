"""What compilation makes: candidates, of which one may ship."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.bundle.archive import Artifact


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a candidate is made of, read from its own bytes.

    operators: a net's, each as `CONV_2D v3`; foreign: those that no interpreter has built in. activations, weights:
    (int8 ones, all), tensors of the first and bytes of the second. nodes, trees: of a forest.
    """

    operators: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    activations: tuple[int, int] = (0, 0)
    weights: tuple[int, int] = (0, 0)
    trees: int = 0
    nodes: int = 0


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One form of a model.

    artifacts: in order of preference; members: their bytes. small: what the stage is for, quantized or made of trees;
    any other ships only if that was asked for. exact: (N, K) that the artifact must reproduce, where it computes what
    its model computes; None for a net, whose arithmetic is another.
    """

    form: str
    artifacts: tuple[Artifact, ...]
    members: dict[str, bytes]
    small: bool
    facts: Facts
    exact: NDArray[np.float32] | None = None

    @property
    def size(self) -> int:
        """Bytes of the artifact that runs here."""
        return len(self.members[self.artifacts[0].member])
