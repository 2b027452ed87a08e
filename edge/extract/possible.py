"""What cannot be, in a flow record and in a counter. It is left out and counted, in extraction, sweep and agent alike.

One wrapped uptime in an exporter turns a flow of milliseconds into one of 49 days, and a window's mean with it.
"""

from __future__ import annotations

from typing import Any

from contracts.features.schema import SECOND

FLOW_LONGEST_NS = 60 * SECOND
"""An exporter cuts its flows: ours after 5 s, and none that is of use to a window of 10 s after more than a minute."""
FLOW_LATE_NS = 60 * SECOND
"""From a flow's end to its record's arrival."""
FLOW_EARLY_NS = SECOND
"""A record may arrive so long before its flow ended: two clocks, or one of whole seconds."""


def flow_is_possible(wall: Any, start: Any, end: Any, arrival: Any, packets: Any, size: Any) -> Any:
    """Whether a record can be true. Takes whole numbers, or arrays of them; times in Unix ns.

    It is stamped with its end; it ends after it starts, soon enough; it arrives after it ended, soon enough; it holds
    a packet; and no packet of it is larger than a mebibyte (a tap sees segments that were joined, of 64 KiB).
    """
    return (
        (wall == end)
        & (start <= end)
        & (end - start <= FLOW_LONGEST_NS)
        & (end - arrival <= FLOW_EARLY_NS)
        & (arrival - end <= FLOW_LATE_NS)
        & (packets > 0)
        & (size >> 20 < packets)
    )
