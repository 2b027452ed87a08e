"""Finished models to bundles and index entries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.phases import ThreatModel
from contracts.scorecard import Reference, Scorecard
from trainer.architectures import Architecture
from trainer.compile.base import Compiled
from trainer.compile.parity import Run
from trainer.corpus.dataset import Samples
from trainer.evaluate.scorecard import agreement, compare, with_paired
from trainer.index import Entry, Index, RuntimeFigures
from trainer.pack import Parcel, golden_rows, pack
from trainer.plan import BuildPlan
from trainer.split import Split


@dataclass(frozen=True, kw_only=True)
class Built:
    """One model on its way: fitted, compiled, proven and scored, not yet packed."""

    architecture: Architecture
    threat_model: ThreatModel
    channels: tuple[str, ...]
    compiled: Compiled
    runs: list[Run]
    scorecard: Scorecard
    reference: Reference
    test: Samples
    expected: NDArray[np.float32]

    @property
    def title(self) -> str:
        return f"{self.architecture.name}-{self.threat_model}"


def release(built: list[Built], split: Split, plan: BuildPlan) -> tuple[Entry, ...]:
    """Bundles, best first. A bundle that the last build here made of the same kind is replaced; others stay."""
    folder = plan.out / "bundles"
    paired = compare(built[0].test, {one.title: _decided(one) for one in built}, plan.seed)
    entries = []
    for one in built:
        card = with_paired(one.scorecard, paired.get(one.title))
        rows = golden_rows(one.test.y)
        parcel = Parcel(
            architecture=one.architecture,
            threat_model=one.threat_model,
            channels=one.channels,
            compiled=one.compiled,
            scorecard=card,
            reference=one.reference,
            golden=(one.test.x[rows], one.runs[0].probabilities[rows]),
        )
        path = pack(parcel, folder, schema=plan.schema, split=split, seed=plan.seed, key=plan.key)
        entries.append(_entry(one, card, path, plan))
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
