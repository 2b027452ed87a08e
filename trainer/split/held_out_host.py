"""Test on hosts that the model never saw."""

from __future__ import annotations

from collections import Counter
from typing import final

from trainer.split.base import CannotError, Cut, Episodes, Recipe
from trainer.split.saved import RecipeName


@final
class HeldOutHost(Recipe):
    """By default the host with the fewest episodes is held out, which leaves the most to learn from."""

    name: RecipeName = "held_out_host"

    def options(self, episodes: Episodes) -> list[str]:
        """Hosts, the smallest first; none if there is only one."""
        hosts = Counter(episode.host_id for episode in episodes)
        return sorted(hosts, key=lambda host: (hosts[host], host)) if len(hosts) > 1 else []

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
