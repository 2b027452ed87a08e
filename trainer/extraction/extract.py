"""Store -> dataset: the usable episodes of a sweep become shards, one task each, wherever the engine runs them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ConfigError, DatasetError, MissingError, SchemaMismatchError
from contracts.features.schema import FeatureSchema
from contracts.files import locked
from contracts.vocabulary import PHASES
from trainer.dataset.dataset import Dataset
from trainer.dataset.folder import (
    SHARD_BYTES,
    SHARDS,
    DatasetManifest,
    ShardEntry,
    content_digest,
    drop_others,
    read_dataset_manifest,
    write_manifest,
)
from trainer.dataset.open import open_dataset
from trainer.dataset.partition import partition
from trainer.extraction.one_shard import Input, ShardTask, digest_of, extract_shard
from trainer.sweep.catalogue import read_index
from trainer.sweep.sweep import Sweep, require_episodes, sweep
from trainer.versions import EXTRACTION, code_digest
from trainer.workers.engine import Engine
from trainer.workers.progress import say
from trainer.workers.run import run_all


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What to extract. `degraded`: take degraded episodes too; `shard_bytes`: about how large a file may grow."""

    store: Path
    out: Path
    schema: FeatureSchema
    degraded: bool = False
    shard_bytes: int = SHARD_BYTES


def extract_store(plan: Extraction, engine: Engine) -> Dataset:
    """The dataset of a store at `plan.out`. Shards that are there already, of the same episodes, are kept.

    Raises `MissingError`, `BusyError`, `StorageError`, `DatasetError` if nothing is usable, `ConfigError` if it would
    lie inside the store, and `WorkError`.
    """
    if plan.out.resolve().is_relative_to(plan.store.resolve()):
        raise ConfigError(
            plan.out, "inside the store", expected="a folder outside it", remedy="choose another place for --out"
        )
    require_episodes(plan.store)
    index = plan.out / "index.parquet"
    with locked(plan.out / ".lock"):
        engine.require_shared(plan.out, written=True)
        sweep(Sweep(store=plan.store, out=index, base=plan.store / "index.parquet"), engine)
        taken, left_out = _chosen(plan, index)
        shards = _extracted(plan, taken, engine)
        manifest = DatasetManifest(
            schema_hash=plan.schema.hash,
            feature_schema=plan.schema,
            classes=PHASES,
            code=code_digest(*EXTRACTION),
            digest=content_digest(plan.schema, PHASES, shards),
            windows=sum(shard.windows for shard in shards),
            episodes=len(taken),
            left_out=left_out,
            shards=shards,
        )
        if manifest.windows == 0:
            raise DatasetError(
                plan.out, "not one window", expected="episodes longer than a window", remedy="check the store"
            )
        write_manifest(plan.out, manifest)
        drop_others(plan.out / SHARDS, shards)
    return open_dataset(plan.out, plan.schema)


def _chosen(plan: Extraction, index: Path) -> tuple[list[Input], dict[str, int]]:
    """The episodes to take, in order of path, and how many of each verdict are left out."""
    wanted = {"accepted", "degraded"} if plan.degraded else {"accepted"}
    taken, left_out, codes = [], Counter[str](), Counter[str]()
    for finding in read_index(index):
        if finding.verdict in wanted:
            taken.append(Input.of(finding))
        else:
            left_out[finding.verdict] += 1
            codes.update({reason.code for reason in finding.reasons})
    if left_out:
        counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(left_out.items()))
        why = ", ".join(f"{code} {count}" for code, count in codes.most_common())
        say(f"extract: left out {counts} ({why}); {index} says which")
    if not taken:
        raise DatasetError(
            plan.store,
            "no usable episode",
            expected=" or ".join(sorted(wanted)) + " ones",
            remedy="see `trainer explain EPISODE`" + ("" if plan.degraded else ", or take --include-degraded"),
        )
    return taken, dict(sorted(left_out.items()))


def _extracted(plan: Extraction, taken: Sequence[Input], engine: Engine) -> tuple[ShardEntry, ...]:
    window_bytes = 4 * (len(plan.schema.channels) * plan.schema.steps + len(plan.schema.feature_names))
    groups = partition(
        taken, lambda one: one.path.rpartition("/")[2], lambda one: one.windows * window_bytes, plan.shard_bytes
    )
    known = _known(plan.out)
    tasks = []
    for bits, inputs in groups:
        name = f"{bits or 'all'}-{digest_of(plan.schema, inputs)[:16]}.arrow"
        tasks.append(ShardTask(name, tuple(inputs), known.get(name)))
    work = functools.partial(extract_shard, store=plan.store, folder=plan.out / SHARDS, schema=plan.schema)
    found = run_all("extract", work, tasks, engine, lambda entry: f"{entry.windows} windows")
    made = {name: entry for name, entry in found.items() if entry.windows}
    impossible = Counter[str]()
    for entry in made.values():
        impossible.update(entry.impossible)
    if impossible:
        counts = ", ".join(f"{source} {count}" for source, count in sorted(impossible.items()))
        say(f"extract: left out readings that cannot be ({counts})")
    return tuple(made[name] for name in sorted(made))


def _known(out: Path) -> dict[str, ShardEntry]:
    """The shards that an earlier run finished with."""
    try:
        before = read_dataset_manifest(out)
        return {entry.name: entry for entry in before.shards} if before.code == code_digest(*EXTRACTION) else {}
    except (MissingError, DatasetError, SchemaMismatchError):
        return {}
