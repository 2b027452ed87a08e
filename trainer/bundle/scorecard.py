"""The scorecard of one bundle: what the held-out side says of the very artifact that ships."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contracts.bundle.scorecard import Scorecard
from contracts.events.payloads import AlarmScore, Interval, Paired, ProfileScore
from contracts.features.schema import FeatureSchema
from edge import scores
from trainer.compile.prove import Proven
from trainer.dataset.samples import Samples
from trainer.evaluate.alarms import alarm_score, alarms
from trainer.evaluate.calibration import calibration_error
from trainer.evaluate.filtering import speaks_of_infection
from trainer.evaluate.listening import listen, sure_of
from trainer.evaluate.resampled import Resampled
from trainer.split import Split


def score(
    one: Proven,
    test: Samples,
    split: Split,
    classes: tuple[str, ...],
    resampled: Resampled,
    *,
    elapsed_time_alone: Interval,
    temperature: float,
    paired: Paired | None,
    schema: FeatureSchema,
) -> Scorecard:
    """Scores of an artifact on the held-out windows, beside its model's."""
    p, k = one.runs[0].probabilities, len(classes)
    decided = scores.choices(p)
    learned = [f"{p}/{s}" in split.seen_samples for p, s in zip(test.profile, test.sample_name, strict=True)]
    confusions = resampled.confusions(test.y, decided, k)
    total = confusions.sum(axis=0)
    return Scorecard(
        recipe=split.recipe,
        held_out=split.held_out,
        episodes=resampled.episodes,
        windows=len(test.y),
        macro_f1=resampled.interval(confusions, scores.macro_f1),
        model_macro_f1=float(
            scores.macro_f1(resampled.confusions(test.y, scores.choices(one.expected), k).sum(axis=0))
        ),
        argmax_agreement=min(scores.agreement(run.probabilities, one.expected) for run in one.runs),
        max_probability_difference=max(float(np.abs(run.probabilities - one.expected).max()) for run in one.runs),
        per_class=scores.by_class(total, classes),
        per_host={host: some.macro_f1 for host, some in _groups(test.host_id, test, decided, k).items()},
        untested_classes=tuple(scores.untested(total, classes)),
        labels=tuple(scores.seen(total, classes)),
        confusion=tuple(map(tuple, scores.seen_part(total))),
        profiles=_groups(test.profile, test, decided, k),
        untested_profiles=split.untested_profiles,
        seen_samples_share=float(np.mean(learned)),
        elapsed_time_alone=elapsed_time_alone,
        calibration_error=calibration_error(scores.calibrated(p, temperature), test.y),
        paired=paired,
        alarms=_alarms(one, test, classes, schema, resampled) if speaks_of_infection(classes) else None,
    )


def _alarms(
    one: Proven, test: Samples, classes: tuple[str, ...], schema: FeatureSchema, resampled: Resampled
) -> AlarmScore:
    """As the agent would raise them: it believes an artifact less than it says, and decides nothing when unsure or
    blind."""
    believed = scores.calibrated(one.runs[0].probabilities, one.temperature)
    sure = sure_of(believed, one.abstain_below, one.blind)
    heard = listen(test, believed, sure, one.filter, classes, schema, one.blind)
    return alarm_score(alarms(test, heard.raised, classes, schema, resampled))


def _groups(group: NDArray[np.object_], test: Samples, decided: NDArray[np.int64], k: int) -> dict[str, ProfileScore]:
    found = {}
    for name in sorted(set(group.tolist())):
        at = group == name
        found[str(name)] = ProfileScore(
            macro_f1=scores.macro_f1_of(test.y[at], decided[at], k),
            episodes=len(set(test.episode_id[at])),
            windows=int(at.sum()),
        )
    return found
