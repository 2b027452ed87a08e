"""The seam: what an alarm is told of a window, and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Seen:
    """One window, by its end in Unix ns. probabilities: (K,), calibrated, None where nothing was observed or the model
    gave no numbers; decided: the class that was chosen, None where the model abstained."""

    end_ns: int
    probabilities: NDArray[np.float32] | None
    decided: int | None


@dataclass(frozen=True, slots=True)
class Heard:
    """raised: whether the alarm stands. phase: the most probable one, an index, given all windows until now; infected:
    the probability of an infection, given the same. Both None where no filter works them out."""

    raised: bool
    phase: int | None = None
    infected: float | None = None


class Alarm(Protocol):
    """The state of one watch."""

    raised: bool
    """Whether it stands now."""

    def see(self, window: Seen) -> Heard:
        """One more window."""
