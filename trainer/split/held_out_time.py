"""Learn from the past, test on what came later, with an embargo between the two.

Neighbouring episodes share more than their windows: the machine's load, the cache, a neighbour guest. An episode that
overlaps the cut, or ends less than the embargo before it, is on neither side (after Lopez de Prado, Advances in
Financial Machine Learning, 2018, ch. 7).
"""

from __future__ import annotations

from typing import final

from contracts.features.schema import SECOND
from contracts.moments import EPOCH, MICROSECOND, unix_ns
from trainer.split.recipe import CannotError, Cut, Episodes, Recipe
from trainer.split.saved import RecipeName

SHARE = 0.25
"""Of the episodes: what the later side aims at."""
_TRIES = 64


@final
class HeldOutTime(Recipe):
    """By default about the last quarter of the episodes is held out."""

    name: RecipeName = "held_out_time"

    def __init__(self, embargo_s: int) -> None:
        self.embargo_s = embargo_s

    def options(self, episodes: Episodes) -> list[str]:
        """Moments at which an episode begins, those first that leave about a quarter after them."""
        starts = sorted(episode.start_ns for episode in episodes)
        if not starts:
            return []
        wanted = len(starts) * (1 - SHARE)
        order = sorted(range(1, len(starts)), key=lambda i: (abs(i - wanted), i))[:_TRIES]
        return list(dict.fromkeys(_text(starts[i]) for i in order))

    def cut(self, episodes: Episodes, option: str) -> Cut:
        """From a moment on, as ISO 8601."""
        moment = _moment(option)
        later = [episode for episode in episodes if episode.start_ns >= moment]
        earlier = [episode for episode in episodes if episode.end_ns + self.embargo_s * SECOND <= moment]
        if not later or not earlier:
            side = "begins at or after" if not later else f"ends {self.embargo_s} s before"
            raise CannotError(f"no episode {side} {option}")
        kept = {episode.episode_id for episode in (*later, *earlier)}
        return Cut(earlier, later, [episode for episode in episodes if episode.episode_id not in kept])


def _text(unix_ns: int) -> str:
    """ISO 8601 in UTC. To the microsecond, as `datetime` counts: never later, so what begins then begins after it."""
    return (EPOCH + unix_ns // 1000 * MICROSECOND).isoformat().replace("+00:00", "Z")


def _moment(text: str) -> int:
    """Unix ns of an ISO 8601 date or time; UTC where it names no zone. Raises `CannotError`."""
    try:
        return unix_ns(text)
    except ValueError:
        raise CannotError(
            f"{text!r} is no moment such as 2026-11-22T14:00:00Z or 2026-11-22T16:00:00.5+02:00"
        ) from None
