"""Finished models to bundles and index entries."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.scorecard import Scorecard
from edge.scores import agreement
from trainer.evaluate.scorecard import compare
from trainer.index import Entry, Index, RuntimeFigures
from trainer.pack import Built, pack
from trainer.plan import BuildPlan
from trainer.split import Split


def release(built: list[Built], split: Split, plan: BuildPlan) -> tuple[Entry, ...]:
    """Bundles, best first. A bundle that the last build here made of the same kind is replaced; others stay."""
    folder = plan.out / "bundles"
    paired = compare(built[0].test, {one.title: _decided(one) for one in built}, plan.seed)
    entries = []
    for one in built:
        card = msgspec.structs.replace(one.scorecard, paired=paired.get(one.title))
        entries.append(_entry(one, card, pack(one, card, folder, split, plan), plan))
    _remove_replaced(plan.out, entries)
    return tuple(sorted(entries, key=lambda entry: (-entry.macro_f1.value, entry.bundle)))


def _remove_replaced(out: Path, entries: list[Entry]) -> None:
    try:
        before = msgspec.json.decode((out / "index.json").read_bytes(), type=Index)
    except (OSError, msgspec.DecodeError):
        return
    kept = {entry.bundle for entry in entries}
    kinds = {(entry.architecture, entry.threat_model) for entry in entries}
    for entry in before.bundles:
        if (entry.architecture, entry.threat_model) in kinds and entry.bundle not in kept:
            (out / entry.bundle).unlink(missing_ok=True)


def _decided(one: Built) -> NDArray[np.int64]:
    decided: NDArray[np.int64] = one.runs[0].probabilities.argmax(axis=1)
    return decided


def _entry(one: Built, card: Scorecard, path: Path, plan: BuildPlan) -> Entry:
    return Entry(
        bundle=str(path.relative_to(plan.out)),
        architecture=one.architecture.name,
        threat_model=one.threat_model,
        macro_f1=card.macro_f1,
        paired=card.paired,
        model_macro_f1=card.model_macro_f1,
        argmax_agreement=card.argmax_agreement,
        max_probability_difference=card.max_probability_difference,
        artifact_bytes={name: len(data) for name, data in sorted(one.compiled.members.items())},
        bundle_bytes=path.stat().st_size,
        signed_by=plan.key.id if plan.key else None,
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
