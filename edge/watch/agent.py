"""The agent: the only room that knows all the others.

rows -> ring -> window -> runtime -> event -> outbox. Time is whatever the caller says it is, so that a replay and a
live watch run through the same code.
"""

from __future__ import annotations

import contextlib
import time
from typing import Literal

import numpy as np

from contracts.events.envelope import Data, encode_event, kind_of, make_event, topic
from contracts.events.payloads import BundleRef, EpisodeData, PerfData, ShadowWindow, WindowData
from contracts.features.schema import SECOND, FeatureSchema
from contracts.telemetry.rows import Row
from contracts.vocabulary import PHASES, Phase, Source
from edge.deliver.outbox import Outbox
from edge.deliver.rows import Rank
from edge.extract import Extractor, Windows
from edge.model.detector import Detector
from edge.model.known import Known
from edge.model.models import Models
from edge.model.shadow import Shadow
from edge.scores import choice
from edge.watch import score_events as running
from edge.watch.health import Health
from edge.watch.ring import reach_ns
from edge.watch.subject import Subject
from edge.watch.watch import Watch
from edge.watchdog import ended_if_it_hangs

WINDOW_HANGS_S = 15
"""A window of a bundle on trial that takes longer is a hang: three strides."""


def late_ns(schema: FeatureSchema) -> int:
    """A window that takes longer than the next one to come is late."""
    return schema.stride_ns


class Agent:
    """One model watching one guest after the other."""

    def __init__(self, models: Models, schema: FeatureSchema, *, node: str, outbox: Outbox, health: Health) -> None:
        self._models, self._schema, self._node = models, schema, node
        self._schema_hash = schema.hash  # it takes a tenth of a millisecond
        self._outbox, self._health = outbox, health
        self._extractor = Extractor(schema)
        self._watch: Watch | None = None
        self._shadow: Shadow | None = None
        self._take_model()
        self._take_shadow()

    def begin(self, subject: Subject) -> None:
        """Start to watch. A guest that is new here gets the bundle's scorecard first."""
        self._watch = Watch(subject, self._schema, self._detector.alarm())
        self._introduce(subject.started_wall_ns)
        if self._shadow is not None:
            self._shadow.begin()
        self._emit(self._episode("started"), subject.started_wall_ns)

    def feed(self, source: Source, row: Row) -> None:
        """A row has arrived."""
        self._now_watching.ring.append(source, row)

    def advance(self, now_ns: int) -> None:
        """The clock (Unix ns) stands at `now_ns`: look at every window that has settled, in order."""
        watch = self._now_watching
        while (end := watch.due(now_ns)) is not None:
            self._models.poll()
            self._take_over(end + self._schema.settle_ns)
            with ended_if_it_hangs(WINDOW_HANGS_S) if self._models.on_trial else contextlib.nullcontext():
                self._look(watch, end)
            if watch.perf_due(end + self._schema.settle_ns):
                self._emit_perf(end + self._schema.settle_ns)

    def clock_set(self, before_ns: int, after_ns: int) -> None:
        """The wall clock was set from one time to another (Unix ns); call it before anything that comes after."""
        watch = self._now_watching
        if after_ns < before_ns and watch.far_back(after_ns):
            watch.cut_short(before_ns)
            self.advance(before_ns + self._schema.settle_ns)
        watch.clock_set(before_ns, after_ns)

    def finish(self, wall_ns: int) -> None:
        """A live watch ends at this moment: windows that end by then are looked at with what is known of them. `end`
        comes next."""
        self._now_watching.ends_at(wall_ns)
        self.advance(wall_ns + self._schema.settle_ns)

    def end(self) -> None:
        """The recording is over, or the guest is gone."""
        watch = self._now_watching
        at = max(watch.last_end_ns + self._schema.settle_ns, watch.subject.ended_wall_ns or 0)
        self._emit(self._episode("ended"), at)
        self._emit_scores(at)
        self._emit_perf(at)
        self._watch = None

    @property
    def _now_watching(self) -> Watch:
        assert self._watch is not None, "begin() comes first"
        return self._watch

    @property
    def windows(self) -> int:
        """Looked at in this watch."""
        return 0 if self._watch is None else self._watch.windows

    @property
    def evidence(self) -> tuple[str, int] | None:
        """The recording that a window has just named, and that window's end; said once."""
        return None if self._watch is None else self._watch.evidence.take()

    def _take_model(self) -> None:
        self._active = self._models.active
        self._health.reference(self._active)
        self._detector = Detector(self._active, self._schema)
        self._scores = running.RunningScores(self._active)
        self._introduced: set[str] = set()

    def _take_shadow(self) -> None:
        beside = self._models.shadow
        self._shadow = None if beside is None else Shadow(beside, self._schema)

    def _take_over(self, at_ns: int) -> None:
        """If there is another model, it is the next window's: the old one's scores are said, then the new one
        introduces itself. Asked by identity, since several agents share their models."""
        other = self._models.active is not self._active
        if other:
            self._emit_scores(at_ns)
            watch = self._now_watching
            watch.decisions.clear()
            self._take_model()
            watch.alarm = self._detector.alarm(after=watch.alarm)
            self._introduce(at_ns)
        beside = self._shadow and self._shadow.active
        if other or self._models.shadow is not beside:  # a comparison is of two models
            self._take_shadow()

    def _introduce(self, at_ns: int) -> None:
        """A guest that is new to this model gets its scorecard."""
        guest = self._now_watching.subject.guest_id
        if guest not in self._introduced:
            self._introduced.add(guest)
            for card in running.scorecard_events(self._active):
                self._emit(card, at_ns, retain=True)
            # what the broker still has of another bundle is of nobody any more
            self._outbox.clear(f"phasewatch/{self._node}/", but=_stamp(self._active.ref))

    def _emit_scores(self, at_ns: int) -> None:
        """Where truth is known."""
        watch = self._now_watching
        if watch.decisions:
            scored = self._scores.add(watch.subject, watch.decisions)
            beside = self._shadow.end(watch.subject.episode_id) if self._shadow else None
            for score in self._scores.events(beside) if scored else ():
                self._emit(score, at_ns)

    def _look(self, watch: Watch, end: int) -> None:
        began = time.perf_counter()
        windows = self._extractor.extract(watch.ring.columns(), np.array([end], np.int64))
        extracted = time.perf_counter()
        probabilities = self._detector.probabilities(windows)
        inferred = time.perf_counter()
        self._health.extraction.add((extracted - began) * 1000)
        self._health.inference.add((inferred - extracted) * 1000)

        known = watch.known(end)
        lost = watch.ring.dropped_ns
        decided = self._detector.decided(windows, probabilities)
        asked = time.perf_counter()
        beside = self._beside(windows, decided, known, choice(probabilities))
        looked = time.perf_counter()
        data = self._detector.event(
            windows,
            probabilities,
            decided,
            episode_id=watch.subject.episode_id,
            known=known,
            alarm=watch.alarm,
            evidence=watch.evidence.name,
            dropped=lost is not None and lost >= end - reach_ns(self._schema),
            clock_step=watch.spans_step(end),
            clock_set=watch.take_clock_set(),
            shadow=beside,
        )
        self._emit(data, end + self._schema.settle_ns)
        if watch.subject.mode == "live":
            self._health.lateness.add(max(0, time.time_ns() - end - self._schema.settle_ns) / 1e6)
        took = time.perf_counter() - began
        self._health.total.add(took * 1000)
        if self._models.on_trial:  # a slow shadow is not held against the one that it shadows
            self._models.window(late=(took - (looked - asked)) * SECOND > late_ns(self._schema))
        watch.count(data.observed)
        self._health.windowed(windows, data.observed)
        if known is not None:
            watch.decisions.append((PHASES.index(known.phase), choice(probabilities)))

    def _beside(
        self, windows: Windows, decided: Phase | None, known: Known | None, first: int | None
    ) -> ShadowWindow | None:
        if self._shadow is None:
            return None
        try:
            return self._shadow.look(windows, decided, known.phase if known else None, first)
        except Exception as error:  # whatever a shadow does, the watch goes on
            self._models.drop_shadow(f"{type(error).__name__}: {error}")
            self._shadow = None
            return None

    def _episode(self, state: Literal["started", "ended"]) -> EpisodeData:
        watch = self._now_watching
        subject, ended = watch.subject, state == "ended"
        return EpisodeData(
            state=state,
            mode=subject.mode,
            host_id=subject.host_id,
            guest_id=subject.guest_id,
            episode_id=subject.episode_id,
            profile=subject.profile,
            sample_name=subject.sample_name,
            bundle=self._active.ref,
            started_wall_ns=subject.started_wall_ns,
            ended_wall_ns=(subject.ended_wall_ns or watch.last_end_ns) if ended else None,
            windows=watch.windows if ended else None,
            gaps=watch.gaps if ended else None,
        )

    def _emit_perf(self, at_ns: int) -> None:
        beside = self._shadow.cost() if self._shadow else None
        self._emit(
            self._health.report(outbox_depth=self._outbox.depth, dropped=self._outbox.dropped, shadow=beside), at_ns
        )

    def _emit(self, data: Data, at_ns: int, *, retain: bool = False) -> None:
        kind, guest = kind_of(data), self._now_watching.subject.guest_id
        bundle = getattr(data, "bundle", None)
        event = make_event(data, node=self._node, guest=guest, t_wall_ns=at_ns, schema_hash=self._schema_hash)
        self._outbox.put(
            source=event.source,
            event_id=event.id,
            topic=topic(self._node, guest, kind),
            qos=kind.qos,
            retain=kind.retain and retain,
            payload=encode_event(event),
            rank=_rank(data),
            schema=event.featureschema,
            bundle=bundle and _stamp(bundle),
        )


def _stamp(bundle: BundleRef) -> str:
    """What MQTT says of the bundle."""
    return f"{bundle.name}@{bundle.digest}"


def _rank(data: Data) -> Rank:
    """How soon it goes where the outbox is full."""
    if isinstance(data, PerfData):
        return Rank.PERF
    if isinstance(data, WindowData):
        return Rank.ALARM if data.alarm else Rank.WINDOW
    return Rank.KEPT if isinstance(data, EpisodeData) else Rank.LATEST
