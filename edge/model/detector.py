"""Window + model -> what the window event says. Pure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from contracts.events.payloads import ClockSet, Flag, Nearest, ShadowWindow, TopChannel, WindowData
from contracts.features.schema import FeatureSchema
from contracts.vocabulary import PHASES, SOURCES, Phase, Source
from edge.alarm import Alarm, Seen, alarm_of
from edge.extract import Windows, summarise
from edge.familiar import UNFAMILIAR
from edge.model.known import Known
from edge.model.opened import Active
from edge.scores import calibrated, choice

TOP_CHANNELS = 3
DEGRADED_BELOW = 0.5
"""A source that the model looks at, and of which less than this was observed, makes its window degraded."""


class Detector:
    """One model, ready to look at windows of one schema."""

    def __init__(self, active: Active, schema: FeatureSchema) -> None:
        self._active, self._schema = active, schema
        self._of_source: dict[Source, NDArray[np.intp]] = {
            source: np.array([i for i, channel in enumerate(schema.channels) if channel.source == source], np.intp)
            for source in SOURCES
        }
        # the sources that this model looks at
        view = set(active.channels.tolist())
        self._sources = [source for source, at in self._of_source.items() if view.intersection(at.tolist())]
        reference = active.reference
        self._mean, self._std = np.array(reference.mean), np.array(reference.std)
        self._importance = np.array(reference.importance)

    def probabilities(self, windows: Windows) -> NDArray[np.float32]:
        """(K,) of the first window, calibrated: channels of the model's view, summarised if it wants that."""
        manifest, tensor = self._active.bundle.manifest, windows.tensor[:1, self._active.channels]
        window = summarise(tensor, self._schema)[0] if manifest.view == "summary" else tensor[0]
        return calibrated(self._active.runtime.predict(window), manifest.temperature)

    def decided(self, windows: Windows, probabilities: NDArray[np.float32]) -> Phase | None:
        """The phase of the first window; None where the model is not sure, or saw nothing."""
        best = choice(probabilities)
        if best is None:
            return None
        sure = bool(probabilities[best] >= self._active.bundle.manifest.abstain_below)
        return PHASES[best] if sure and not self._blind(windows) else None

    def alarm(self, after: Alarm | None = None) -> Alarm:
        """The alarm of a watch. after: the one of the model before this."""
        return alarm_of(self._active.bundle.manifest.filter, PHASES, after=after)

    def _blind(self, windows: Windows) -> bool:
        """Whether nothing was seen: netflow without a row is a zero, but no ground for a decision."""
        sampled = [self._of_source[source] for source in self._sources if source != "netflow"]
        return bool(sampled) and not any(windows.mask[0, at].any() for at in sampled)

    @staticmethod
    def said(probabilities: NDArray[np.float32]) -> dict[Phase, float]:
        """Probabilities as events carry them: all 0 where the model gave no numbers."""
        numbers = zip(PHASES, probabilities if choice(probabilities) is not None else [0.0] * len(PHASES), strict=True)
        return {phase: round(min(1.0, max(0.0, float(p))), 6) for phase, p in numbers}

    def event(
        self,
        windows: Windows,
        probabilities: NDArray[np.float32],
        decided: Phase | None,
        *,
        episode_id: str,
        known: Known | None,
        alarm: Alarm,
        evidence: Callable[[int, bool], str | None],
        dropped: bool,
        clock_step: bool,
        clock_set: ClockSet | None,
        shadow: ShadowWindow | None,
    ) -> WindowData:
        """The payload for the first window, which `alarm` sees. evidence: what keeps the rows of a window
        (by its end, and whether the alarm stands); shadow: what another model made of it."""
        end, active, levels = int(windows.ends[0]), self._active, self._levels(windows)
        nearest = self._unlike(levels)
        observed = {
            source: round(float(windows.mask[0, at].mean()), 4) for source, at in self._of_source.items() if len(at)
        }
        looked_at = {source: observed[source] for source in self._sources}
        flags: dict[Flag, bool] = {
            "clock_step": clock_step or bool(windows.clock_step[0]),
            "degraded": min(looked_at.values()) < DEGRADED_BELOW,
            "rows_dropped": dropped,
            "unsigned_bundle": active.ref.key is None,
            "unfiltered": active.bundle.manifest.filter is None,
            "unfamiliar": nearest is not None,
        }
        unseen = choice(probabilities) is None or self._blind(windows)
        chosen = None if decided is None else PHASES.index(decided)
        heard = alarm.see(Seen(end, None if unseen else probabilities, chosen))
        return WindowData(
            episode_id=episode_id,
            bundle=active.ref,
            start_wall_ns=end - self._schema.window_ns,
            end_wall_ns=end,
            probabilities=self.said(probabilities),
            decided=decided,
            phase=None if heard.phase is None else PHASES[heard.phase],
            infected=None if heard.infected is None else round(heard.infected, 6),
            alarm=heard.raised,
            truth=known.phase if known else None,
            purity=round(known.purity, 4) if known else None,
            observed=observed,
            top_channels=self._top_channels(levels),
            doubted={source: doubt for source in windows.doubts if (doubt := windows.doubt(source, 0)) is not None},
            impossible={source: int(some[0]) for source, some in windows.impossible.items() if some[0]},
            clock_set=clock_set,
            evidence=evidence(end, heard.raised),
            shadow=shadow,
            nearest=nearest,
            flags=[flag for flag, raised in flags.items() if raised],
        )

    def _levels(self, windows: Windows) -> NDArray[np.float64]:
        """(V,) means of the first window's channels over what was observed; NaN where nothing was."""
        tensor, mask = windows.tensor[0, self._active.channels], windows.mask[0, self._active.channels]
        count = mask.sum(axis=1)
        return np.asarray(np.where(mask, tensor, 0).sum(axis=1, dtype=np.float64) / np.where(count, count, np.nan))

    def _unlike(self, levels: NDArray[np.float64]) -> Nearest | None:
        """What the first window is least unlike, if it is unlike all that was learned from."""
        found = self._active.familiar.of(levels) if self._active.familiar is not None else None
        return found if found is not None and found.p < UNFAMILIAR else None

    def _top_channels(self, levels: NDArray[np.float64]) -> list[TopChannel]:
        """The channels furthest from training, in standard deviations, times their importance to the model."""
        score = np.where(np.isnan(levels), 0, np.abs(levels - self._mean) / self._std) * self._importance
        order = np.argsort(-score, kind="stable")[:TOP_CHANNELS]
        names = self._active.bundle.manifest.channels
        return [TopChannel(channel=names[i], score=round(float(score[i]), 6)) for i in order if score[i] > 0]
