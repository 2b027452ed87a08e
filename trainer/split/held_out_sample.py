"""Test on samples (variants of a profile) that the model never saw, on whichever host they ran."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import final

from trainer.split.episodes import EpisodeFacts
from trainer.split.recipe import CannotError, Cut, Episodes, Recipe
from trainer.split.saved import RecipeName


@final
class HeldOutSample(Recipe):
    """By default the rarest sample of each profile that has two at least. The other profiles are untested."""

    name: RecipeName = "held_out_sample"

    def options(self, episodes: Episodes) -> list[str]:
        """All rarest ones together, then the second rarest, and so on."""
        by_profile: dict[str, Counter[str]] = defaultdict(Counter)
        for episode in episodes:
            by_profile[episode.profile][episode.sample_name] += 1
        ranked = {
            profile: sorted(samples, key=lambda sample: (samples[sample], sample))
            for profile, samples in sorted(by_profile.items())
            if len(samples) > 1
        }
        if not ranked:
            return []
        most = max(map(len, ranked.values()))
        return [
            ",".join(f"{profile}/{samples[i % len(samples)]}" for profile, samples in ranked.items())
            for i in range(most)
        ]

    def cut(self, episodes: Episodes, option: str) -> Cut:
        """`<profile>/<sample>`s between commas."""
        known = {f"{episode.profile}/{episode.sample_name}" for episode in episodes}
        chosen = set(option.split(","))
        for sample in sorted(chosen - known):
            raise CannotError(f"no sample {sample} among {', '.join(sorted(known))}")
        rest: list[EpisodeFacts] = []
        held_out: list[EpisodeFacts] = []
        for episode in episodes:
            (held_out if f"{episode.profile}/{episode.sample_name}" in chosen else rest).append(episode)
        return Cut(rest, held_out)
