"""Proven models to bundles and index entries."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from edge.scores import agreement, choices
from trainer.bundle.held_out import HeldOut
from trainer.bundle.index import Entry, Index, RuntimeFigures
from trainer.bundle.pack import Label, pack
from trainer.bundle.scorecard import score
from trainer.compile.prove import Proven
from trainer.dataset.samples import Samples
from trainer.evaluate.figures import RecipeRecord
from trainer.evaluate.paired import Duels
from trainer.evaluate.resampled import Resampled

BUNDLES = "bundles"


def release(
    proven: Sequence[Proven],
    refused: Collection[str],
    test: Samples,
    record: RecipeRecord,
    label: Label,
    out: Path,
) -> tuple[Entry, ...]:
    """Bundles, best first. One that the last build here made of the same kind is replaced (or, if its kind is refused
    now, removed); others stay."""
    resampled = Resampled(test.episode_id, proven[0].job.seed)
    duels = Duels(
        {
            one.job.title: resampled.confusions(test.y, choices(one.runs[0].probabilities), len(label.classes))
            for one in proven
        },
        resampled,
    )
    entries = []
    for one in proven:
        card = score(
            one,
            test,
            label.split,
            label.classes,
            resampled,
            elapsed_time_alone=record.leaks.elapsed_time_alone,
            temperature=one.temperature,
            paired=duels.against_best(one.job.title),
            schema=label.schema,
        )
        by_episode = HeldOut.of(test, one.runs[0].probabilities, label.classes)
        path = pack(one, card, by_episode, label, out / BUNDLES)
        entries.append(
            Entry(
                bundle=str(path.relative_to(out)),
                form=one.candidate.form,
                architecture=one.job.architecture,
                threat_model=one.job.threat_model,
                macro_f1=card.macro_f1,
                alarms=card.alarms,
                paired=card.paired,
                model_macro_f1=card.model_macro_f1,
                argmax_agreement=card.argmax_agreement,
                max_probability_difference=card.max_probability_difference,
                artifact_bytes={name: len(data) for name, data in sorted(one.candidate.members.items())},
                size=one.candidate.size,
                bundle_bytes=path.stat().st_size,
                signed_by=label.key.id if label.key else None,
                runtimes=tuple(
                    RuntimeFigures(
                        runtime=run.runtime,
                        p50_ms=run.p50_ms,
                        p99_ms=run.p99_ms,
                        argmax_agreement=agreement(run.probabilities, one.expected),
                    )
                    for run in one.runs
                ),
            )
        )
    _remove_replaced(out, entries, refused)
    return tuple(sorted(entries, key=lambda entry: (-entry.macro_f1.value, entry.bundle)))


def _remove_replaced(out: Path, entries: list[Entry], refused: Collection[str]) -> None:
    try:
        before = msgspec.json.decode((out / "index.json").read_bytes(), type=Index)
    except (OSError, msgspec.DecodeError):
        return
    kept = {entry.bundle for entry in entries}
    kinds = {f"{entry.architecture}-{entry.threat_model}" for entry in entries} | set(refused)
    for entry in before.bundles:
        if f"{entry.architecture}-{entry.threat_model}" in kinds and entry.bundle not in kept:
            (out / BUNDLES / Path(entry.bundle).name).unlink(missing_ok=True)
