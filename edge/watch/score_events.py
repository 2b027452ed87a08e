"""Scores as events: the bundle's own scorecard, and the running score where truth is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from contracts.events.envelope import Data
from contracts.events.payloads import ConfusionData, MetricsData, ProfileScore, ProfilesData, ShadowScore
from contracts.vocabulary import PHASES
from edge import scores
from edge.model.opened import Active

if TYPE_CHECKING:
    from edge.watch.subject import Subject

_SEED = 0


def scorecard_events(active: Active) -> Iterator[Data]:
    """What the trainer measured on its held-out side."""
    card, ref = active.scorecard, active.ref
    yield MetricsData(
        basis="scorecard",
        bundle=ref,
        recipe=card.recipe,
        episodes=card.episodes,
        windows=card.windows,
        macro_f1=card.macro_f1,
        per_class={phase: card.per_class[phase] for phase in PHASES if phase in card.per_class},
        per_host=card.per_host,
        paired=card.paired,
        untested_classes=[phase for phase in PHASES if phase in card.untested_classes],
        alarms=card.alarms,
    )
    yield ConfusionData(
        basis="scorecard",
        bundle=ref,
        labels=[phase for phase in PHASES if phase in card.labels],
        matrix=[list(line) for line in card.confusion],
    )
    yield ProfilesData(
        basis="scorecard", bundle=ref, profiles=card.profiles, untested_profiles=list(card.untested_profiles)
    )


class RunningScores:
    """Windows whose truth is known, by episode."""

    def __init__(self, active: Active) -> None:
        self._active = active
        self._confusions: dict[str, scores.Ints] = {}
        self._hosts: dict[str, str] = {}
        self._profiles: dict[str, str] = {}
        self._undecided: dict[str, int] = {}

    def add(self, subject: Subject, decisions: list[tuple[int, int | None]]) -> bool:
        """One episode's (truth, choice) pairs; the same episode again replaces its first. Whether there are scores."""
        episode = subject.episode_id
        chosen = [(truth, choice) for truth, choice in decisions if choice is not None]
        self._undecided[episode] = len(decisions) - len(chosen)
        if chosen:
            truth, decided = np.array(chosen, np.int64).T
            (confusion,) = scores.confusions(truth, decided, np.zeros(len(truth), np.int64), len(PHASES))
            self._confusions[episode] = confusion
            self._hosts[episode] = subject.host_id
            self._profiles[episode] = subject.profile or "unknown"
        else:
            for known in (self._confusions, self._hosts, self._profiles):
                known.pop(episode, None)
        return bool(self._confusions)

    def events(self, shadow: ShadowScore | None) -> Iterator[Data]:
        """Metrics, confusion and profiles as they stand, and beside them how a shadow does."""
        stack = np.stack(list(self._confusions.values()))
        total = stack.sum(axis=0)
        per_class = scores.by_class(total, PHASES)
        ref = self._active.ref
        yield MetricsData(
            basis="running",
            bundle=ref,
            recipe=self._active.scorecard.recipe,
            episodes=len(stack),
            windows=int(total.sum()),
            macro_f1=scores.f1_interval(stack, seed=_SEED),
            per_class=per_class,
            per_host={host: float(scores.macro_f1(some)) for host, (some, _) in self._by(self._hosts).items()},
            paired=None,
            untested_classes=scores.untested(total, PHASES),
            undecided=sum(self._undecided.values()),
            shadow=shadow,
        )
        yield ConfusionData(
            basis="running",
            bundle=ref,
            labels=scores.seen(total, PHASES),
            matrix=scores.seen_part(total),
        )
        profiles = {
            profile: ProfileScore(macro_f1=float(scores.macro_f1(some)), episodes=n, windows=int(some.sum()))
            for profile, (some, n) in self._by(self._profiles).items()
        }
        known = {*self._active.scorecard.profiles, *self._active.scorecard.untested_profiles}
        yield ProfilesData(
            basis="running", bundle=ref, profiles=profiles, untested_profiles=sorted(known - profiles.keys())
        )

    def _by(self, group: dict[str, str]) -> dict[str, tuple[scores.Ints, int]]:
        """Confusion and number of episodes per host or profile."""
        members = defaultdict(list)
        for episode, name in group.items():
            members[name].append(self._confusions[episode])
        return {name: (np.sum(some, axis=0), len(some)) for name, some in sorted(members.items())}
