"""`trainer build`: store -> dataset -> split -> fit -> compile -> prove -> score -> bundles.

    trainer build tests/corpus --out build/demo --quick

leaves in OUT: dataset.arrow, split.json, checkpoints/, bundles/*.bundle and index.json, which ranks them by macro F1
on the held-out host (gbt about 0.80 on the bundled recordings). Started again, it goes on where it was stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.channels import view_of
from contracts.errors import DatasetError, MissingError, SchemaMismatchError
from contracts.features import FeatureSchema
from contracts.keys import SigningKey
from contracts.phases import ThreatModel
from contracts.scorecard import Reference, Scorecard
from contracts.telemetry.episode import find_episodes
from contracts.telemetry.storage import locked, write_file
from trainer.architectures import Architecture, FitSettings, Model
from trainer.architectures.gbt import GbtModel
from trainer.architectures.net import NetModel
from trainer.checkpoint import Stamp, load_checkpoint, save_checkpoint
from trainer.compile.base import Compiled
from trainer.compile.nets import compile_net
from trainer.compile.parity import Run, prove, run_artifacts
from trainer.compile.trees import compile_trees
from trainer.corpus.dataset import Dataset, Samples
from trainer.corpus.extract import extract_store
from trainer.evaluate.scorecard import compare, reference, score, with_paired
from trainer.index import Entry, Index, RuntimeFigures
from trainer.pack import Parcel, golden_rows, pack
from trainer.progress import say, stage
from trainer.split import Split, held_out_host, load_split, save_split


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What to build."""

    store: Path
    out: Path
    architectures: tuple[Architecture, ...]
    threat_models: tuple[ThreatModel, ...]
    schema: FeatureSchema
    held_out: str | None
    seed: int
    quick: bool
    workers: int
    allow_missing: bool
    key: SigningKey | None


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

    @property
    def title(self) -> str:
        return f"{self.architecture.name}-{self.threat_model}"


def build(plan: BuildPlan) -> Index:
    """The whole recipe. Raises `PhasewatchError`s; what was finished by then is kept."""
    with locked(plan.out / ".lock"):
        episodes = find_episodes(plan.store)
        dataset = extract_store(
            episodes,
            plan.out / "dataset.arrow",
            plan.schema,
            workers=plan.workers,
            allow_missing=plan.allow_missing,
        )
        split = _split(dataset, plan)
        built = [
            _build_one(dataset, split, architecture, threat_model, plan)
            for architecture in plan.architectures
            for threat_model in plan.threat_models
        ]
        index = Index(
            recipe=split.recipe,
            held_out=split.held_out,
            untested_profiles=split.untested_profiles,
            schema_hash=plan.schema.hash,
            corpus_digest=dataset.digest,
            split_digest=split.digest,
            bundles=_pack(built, split, plan),
        )
        write_file(plan.out / "index.json", msgspec.json.format(msgspec.json.encode(index), indent=1))
        return index


def _split(dataset: Dataset, plan: BuildPlan) -> Split:
    split = held_out_host(dataset.load_summary(), dataset.digest, plan.held_out)
    path = plan.out / "split.json"
    save_split(split, path)
    say(
        f"split: {len(split.train)} episodes to learn from, {len(split.validation)} to tune by, "
        f"{len(split.test)} on held-out {split.held_out[0]}"
        + (f"; untested there: {', '.join(split.untested_profiles)}" if split.untested_profiles else "")
    )
    return load_split(path, dataset.digest)


def _build_one(
    dataset: Dataset, split: Split, architecture: Architecture, threat_model: ThreatModel, plan: BuildPlan
) -> Built:
    channels = view_of(plan.schema.channels, threat_model)
    samples = dataset.load(architecture.view, channels)
    train, validation, test = (samples.of(side) for side in (split.train, split.validation, split.test))
    title = f"{architecture.name}-{threat_model}"

    model = _fit(architecture, train, validation, _stamp(architecture, channels, dataset, split, plan), title, plan)
    expected = model.predict(test.x)
    compiled = compile_model(model)
    with stage(f"prove {title}", len(compiled.artifacts)) as step:
        runs = run_artifacts(compiled, test.x)
        for run in runs:
            prove(title, run, expected, quantized=compiled.quantized)
        for artifact in compiled.artifacts:
            step(artifact.runtime)
    card = score(test, split, runs[0].probabilities, expected, plan.seed)
    f1 = card.macro_f1
    say(f"{title}: macro F1 {f1.value:.3f} [{f1.low or 0:.3f}, {f1.high or 0:.3f}] on {', '.join(split.held_out)}")
    return Built(
        architecture=architecture,
        threat_model=threat_model,
        channels=channels,
        compiled=compiled,
        runs=runs,
        scorecard=card,
        reference=reference(model, train, validation, len(channels)),
        test=test,
    )


def _stamp(
    architecture: Architecture, channels: tuple[str, ...], dataset: Dataset, split: Split, plan: BuildPlan
) -> Stamp:
    return Stamp(
        architecture=architecture.name,
        version=architecture.version,
        schema_hash=plan.schema.hash,
        dataset_digest=dataset.digest,
        split_digest=split.digest,
        channels=channels,
        seed=plan.seed,
        quick=plan.quick,
    )


def _fit(
    architecture: Architecture, train: Samples, validation: Samples, stamp: Stamp, title: str, plan: BuildPlan
) -> Model:
    """The model of an earlier run if its checkpoint fits, else a new one. Either way it comes from the checkpoint."""
    folder = plan.out / "checkpoints" / title
    try:
        model = load_checkpoint(architecture, folder, plan.schema, stamp)
        say(f"fit {title}: kept from an earlier run")
    except (MissingError, DatasetError, SchemaMismatchError):
        with stage(f"fit {title}", 100) as step:
            fitted = architecture.fit(
                train, validation, FitSettings(seed=plan.seed, quick=plan.quick, progress=_percent(step))
            )
        save_checkpoint(fitted, stamp, folder)
        model = load_checkpoint(architecture, folder, plan.schema, stamp)
    return model


def _percent(step: Callable[[str], None]) -> Callable[[int, int, str], None]:
    """Turn `(done, of, news)` into steps of one hundredth."""
    shown = 0

    def report(done: int, of: int, news: str) -> None:
        nonlocal shown
        while shown < done * 100 // of:
            shown += 1
            step(news)

    return report


def compile_model(model: Model) -> Compiled:
    """The artifacts of a model. Raises `ConfigError`, `ParityError`."""
    if isinstance(model, GbtModel):
        return compile_trees(model)
    assert isinstance(model, NetModel), type(model)
    return compile_net(model)


def _pack(built: list[Built], split: Split, plan: BuildPlan) -> tuple[Entry, ...]:
    """Bundles, best first. Those of an earlier build are removed once the new ones are there."""
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
    for stale in set(folder.glob("*.bundle")) - {plan.out / entry.bundle for entry in entries}:
        stale.unlink()
    return tuple(sorted(entries, key=lambda entry: (-entry.macro_f1.value, entry.bundle)))


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
        runtimes=tuple(RuntimeFigures(runtime=run.runtime, p50_ms=run.p50_ms, p99_ms=run.p99_ms) for run in one.runs),
    )
