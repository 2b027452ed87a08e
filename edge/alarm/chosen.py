"""Which alarm a bundle asks for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from contracts.bundle.filter import Filter
from contracts.vocabulary import INFECTED
from edge.alarm.forward import Forward
from edge.alarm.in_a_row import InARow
from edge.alarm.seam import Alarm


def alarm_of(spec: Filter | None, classes: Sequence[str], *, after: Alarm | None = None) -> Alarm:
    """A filter's alarm; the old rule's where the bundle has none.

    after: the alarm of the model that was listened to until now. What stands goes on standing, and a filter of the same
    phases goes on from what was believed.
    """
    infected = np.array([name in INFECTED for name in classes])
    if spec is None:
        return InARow(infected, raised=after is not None and after.raised)
    return Forward(spec, infected, after=after)
