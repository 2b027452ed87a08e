"""`trainer build`: store -> dataset -> split -> fit -> compile -> prove -> score -> bundles.

    trainer build tests/corpus --out build/demo --quick

leaves in OUT: dataset/, split.json, checkpoints/, bundles/*.bundle and index.json, which ranks them by macro F1
on the held-out host (gbt about 0.80 on the bundled recordings). Started again, it goes on where it was stopped.
"""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
from numpy.typing import NDArray

from contracts.channels import view_of
from contracts.payloads import Interval
from contracts.phases import ThreatModel
from contracts.telemetry.storage import locked, write_file
from trainer.architectures import Architecture, Model
from trainer.architectures.gbt import GbtModel
from trainer.architectures.net import NetModel
from trainer.compile.base import Compiled
from trainer.compile.nets import compile_net
from trainer.compile.parity import prove, run_artifacts
from trainer.compile.trees import compile_trees
from trainer.corpus.dataset import Dataset
from trainer.corpus.extract import Extraction, extract_store
from trainer.engine import engine
from trainer.evaluate.elapsed import elapsed_time_alone
from trainer.evaluate.scorecard import reference, score
from trainer.index import Index
from trainer.pack import Built
from trainer.plan import BuildPlan
from trainer.progress import say, stage
from trainer.release import release
from trainer.resume import fit_or_keep, stamp_for
from trainer.split import Split, load_split, make_split, save_split
from trainer.table import in_words


def build(plan: BuildPlan) -> Index:
    """The whole recipe. Raises `PhasewatchError`s; what was finished by then is kept."""
    with locked(plan.out / ".lock"):
        with engine(plan.workers, plan.cluster) as made:
            dataset = extract_store(
                Extraction(store=plan.store, out=plan.out / "dataset", schema=plan.schema, degraded=plan.degraded), made
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
            bundles=release(built, split, plan),
        )
        write_file(plan.out / "index.json", msgspec.json.format(msgspec.json.encode(index), indent=1))
        return index


def _split(dataset: Dataset, plan: BuildPlan) -> Split:
    split = make_split(dataset, plan.recipe, plan.held_out)
    path = plan.out / "split.json"
    save_split(split, path)
    say(
        f"split: {len(split.train)} episodes to learn from, {len(split.validation)} to tune by, "
        f"{len(split.test)} held out ({', '.join(split.held_out)})"
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

    model = fit_or_keep(
        architecture, train, validation, stamp_for(architecture, channels, dataset, split, plan), title, plan
    )
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


def compile_model(model: Model) -> Compiled:
    """The artifacts of a model. Raises `ConfigError`, `ParityError`."""
    if isinstance(model, GbtModel):
        return compile_trees(model)
    assert isinstance(model, NetModel), type(model)
    return compile_net(model)
