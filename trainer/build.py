"""`trainer build`: store -> dataset -> split -> fit -> compile -> prove -> score -> bundles.

    trainer build tests/corpus --out build/demo --quick

leaves in OUT: dataset.arrow, split.json, checkpoints/, bundles/*.bundle and index.json, which ranks them by macro F1
on the held-out host (gbt about 0.80 on the bundled recordings). Started again, it goes on where it was stopped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.channels import view_of
from contracts.errors import DatasetError, DigestError, MissingError, SchemaMismatchError
from contracts.events import Interval
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
from trainer.evaluate.elapsed import elapsed_time_alone
from trainer.evaluate.scorecard import agreement, compare, reference, score, with_paired
from trainer.index import Entry, Index, RuntimeFigures
from trainer.pack import Parcel, golden_rows, library_versions, pack
from trainer.progress import say, stage
from trainer.split import Split, held_out_host, load_split, save_split
from trainer.table import in_words


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
    expected: NDArray[np.float32]

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
        elapsed = elapsed_time_alone(dataset.load_summary(), split, plan.seed)
        say(f"elapsed time alone: {in_words(elapsed)}")
        built = [
            _build_one(dataset, split, architecture, threat_model, elapsed, plan)
            for architecture in plan.architectures
            for threat_model in plan.threat_models
        ]
        index = Index(
            recipe=split.recipe,
            held_out=split.held_out,
            untested_profiles=split.untested_profiles,
            seen_samples=split.seen_samples,
            elapsed_time_alone=elapsed,
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
    dataset: Dataset,
    split: Split,
    architecture: Architecture,
    threat_model: ThreatModel,
    elapsed: Interval,
    plan: BuildPlan,
) -> Built:
    channels = view_of(plan.schema.channels, threat_model)
    samples = dataset.load(architecture.view, channels)
    train, validation, test = (samples.of(side) for side in (split.train, split.validation, split.test))
    title = f"{architecture.name}-{threat_model}"

    model = _fit(architecture, train, validation, _stamp(architecture, channels, dataset, split, plan), title, plan)
    # The proof is over all windows, and over some of which much was not observed; the score is of the held-out ones.
    probe = np.concatenate([test.x, train.x, validation.x, _thinned(test.x, plan.seed)])
    expected = model.predict(probe)
    compiled = compile_model(model)
    with stage(f"prove {title}", len(compiled.artifacts)) as step:
        runs = run_artifacts(compiled, probe)
        for run in runs:
            prove(title, run, expected, quantized=compiled.quantized)
        for artifact in compiled.artifacts:
            step(artifact.runtime)
    held_out = slice(len(test.y))
    runs = [dataclasses.replace(run, probabilities=run.probabilities[held_out]) for run in runs]
    card = score(
        test,
        split,
        [run.probabilities for run in runs],
        expected[held_out],
        elapsed_time_alone=elapsed,
        seed=plan.seed,
    )
    say(f"{title}: {in_words(card.macro_f1)} on {', '.join(split.held_out)}")
    return Built(
        architecture=architecture,
        threat_model=threat_model,
        channels=channels,
        compiled=compiled,
        runs=runs,
        scorecard=card,
        reference=reference(model, train, validation, len(channels)),
        test=test,
        expected=expected[held_out],
    )


def _thinned(x: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """A copy in which a fifth of the values was not observed."""
    return np.where(np.random.default_rng(seed).random(x.shape) < 0.2, np.float32(np.nan), x)


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
        versions=library_versions(),
    )


def _fit(
    architecture: Architecture, train: Samples, validation: Samples, stamp: Stamp, title: str, plan: BuildPlan
) -> Model:
    """The model of an earlier run if its checkpoint fits, else a new one. Either way it comes from the checkpoint."""
    folder = plan.out / "checkpoints" / title
    try:
        model = load_checkpoint(architecture, folder, plan.schema, stamp)
        say(f"fit {title}: kept from an earlier run")
    except (MissingError, DatasetError, DigestError, SchemaMismatchError):
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
