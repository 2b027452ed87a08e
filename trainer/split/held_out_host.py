"""Test on hosts that the model never saw."""

from __future__ import annotations

from collections import Counter
from typing import final

from trainer.split.recipe import CannotError, Cut, Episodes, Recipe
from trainer.split.saved import RecipeName

MANY = 6


@final
class HeldOutHost(Recipe):
    """By default the host with the fewest episodes is held out, which leaves the most to learn from; of many hosts, the
    sixth of them with the fewest: one person of thirty says little about people."""

    name: RecipeName = "held_out_host"

    def options(self, episodes: Episodes) -> list[str]:
        """A sixth of the hosts together, where that is several; then single hosts. The smallest first; none of one."""
        count = Counter(episode.host_id for episode in episodes)
        hosts = sorted(count, key=lambda host: (count[host], host))
        some = hosts[: round(len(hosts) / MANY)]
        return [*([",".join(sorted(some))] if len(some) > 1 else []), *hosts] if len(hosts) > 1 else []

    def cut(self, episodes: Episodes, option: str) -> Cut:
        """One host, or several between commas."""
        hosts = {episode.host_id for episode in episodes}
        chosen = set(option.split(","))
        for host in sorted(chosen - hosts):
            raise CannotError(f"no host {host} among {', '.join(sorted(hosts))}")
        return Cut(
            [episode for episode in episodes if episode.host_id not in chosen],
            [episode for episode in episodes if episode.host_id in chosen],
        )
