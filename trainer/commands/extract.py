"""`trainer extract`."""

from __future__ import annotations

import argparse
from pathlib import Path

from trainer.commands.options import Commands, add_channels, add_engine, add_store, placed, schema_of, whole, workers_of


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "extract",
        help="make a dataset of a store's usable episodes",
        description="Sweep the store (what has not changed is not read again), and cut the accepted episodes into\n"
        "windows: tensor, mask, summary, label, purity and ids, in memory-mapped Arrow files below DATASET. Stopped,\n"
        "it goes on where it was; later, only files of changed episodes are made anew. The same store gives the same\n"
        "bytes, whatever the number of workers. DATASET/index.parquet has the verdict on every episode, taken or not.",
        example="trainer extract tests/corpus --out build/dataset",
    )
    add_store(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DATASET", help="folder for the dataset")
    parser.add_argument(
        "--include-degraded", action="store_true", help="take degraded episodes too (what is missing is not observed)"
    )
    parser.add_argument(
        "--shard-mb", type=_megabytes, default=32, metavar="N", help="how large a file may grow (default: 32)"
    )
    add_channels(parser)
    add_engine(parser)
    parser.set_defaults(work=_extract)


def _megabytes(text: str) -> int:
    return whole(text, 1, 4096)


def _extract(options: argparse.Namespace) -> int:
    from trainer.extraction.extract import Extraction, extract_store
    from trainer.workers.start import engine

    plan = Extraction(
        store=placed(options, options.store),
        out=placed(options, options.out),
        schema=schema_of(options),
        degraded=options.include_degraded,
        shard_bytes=options.shard_mb << 20,
    )
    with engine(workers_of(options), options.cluster) as made:
        dataset = extract_store(plan, made)
    print(f"{options.out}: {len(dataset)} windows in {len(dataset.shards)} shards, digest {dataset.digest[:12]}…")
    return 0
