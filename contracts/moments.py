"""Moments as people write them: ISO 8601, UTC where no zone is named."""

from __future__ import annotations

import datetime
import re

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MICROSECOND = datetime.timedelta(microseconds=1)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ][\d:]+(\.\d+)?(Z|[+-][\d:.]+)?)?", re.ASCII)


def unix_ns(text: str) -> int:
    """Unix ns of a date or a time, to the microsecond. Raises `ValueError`."""
    if not _MOMENT.fullmatch(text):  # `fromisoformat` takes any character between date and time, a digit too
        raise ValueError(text)
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return (moment - EPOCH) // MICROSECOND * 1000
