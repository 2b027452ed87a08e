"""`trainer explain`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from contracts.errors import DatasetError, MissingError
from contracts.shell.cli import print_json
from trainer.commands.options import Commands


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "explain",
        help="say in words why an episode got its verdict",
        description="Read one episode again and say what is right and wrong with it. What only a sweep can know (that\n"
        "another episode has the same id) is taken from the index, if there is one.\n"
        "Exit status: 0 it can be used, 1 it was rejected or could not be read.",
        example="trainer explain tests/corpus/arm-1/corpus-1-0005",
    )
    parser.add_argument("episode", type=Path, metavar="EPISODE", help="its folder, <store>/<host_id>/<episode_id>")
    parser.add_argument("--index", type=Path, metavar="FILE", help="the sweep's index (default: STORE/index.parquet)")
    parser.add_argument("--json", action="store_true", help="print the finding as JSON")
    parser.set_defaults(work=_explain)


def _explain(options: argparse.Namespace) -> int:
    from trainer.sweep.catalogue import ACROSS, read_index, with_reason
    from trainer.sweep.examine import examine
    from trainer.sweep.explain import in_words

    folder: Path = options.episode.absolute()
    if not folder.is_dir():
        raise MissingError(
            options.episode,
            "no such folder",
            expected="an episode's folder, <store>/<host_id>/<episode_id>",
            remedy="see the index for its path",
        )
    finding = examine(folder)
    index = options.index or folder.parent.parent / "index.parquet"
    known = None
    if options.index or index.exists():
        try:
            known = next((one for one in read_index(index) if one.path == finding.path), None)
        except DatasetError as error:
            if options.index:
                raise
            print(f"trainer: {error}", file=sys.stderr)
        for reason in known.reasons if known else ():
            if reason.code in ACROSS:
                finding = with_reason(finding, reason)
    if options.json:
        print_json(finding)
    else:
        print("\n".join(in_words(finding)))
        if known and known.fingerprint != finding.fingerprint:
            print(f"  the index says {known.verdict}; the episode has changed since: validate again")
        elif index.exists() and known is None:
            print(f"  {index} does not know it: validate again")
    return 1 if finding.verdict in ("rejected", "errored") else 0
