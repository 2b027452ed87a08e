"""`trainer build`."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import ConfigError
from contracts.files import write_file
from contracts.shell.cli import print_json
from contracts.shell.paths import shown, signing_key_path, trust_folder
from trainer.commands.fit_options import add_fit, fit_plan, require_packages
from trainer.commands.options import Commands, add_channels, add_engine, placed, schema_of, workers_of

if TYPE_CHECKING:
    from contracts.bundle.keys import SigningKey
    from contracts.features.schema import FeatureSchema
    from trainer.fits.plan import FitPlan


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "build",
        help="fit, evaluate, compile, prove, score and pack models",
        description="Fit models to a store of episodes (or to a dataset), judge them on the side that was held out,\n"
        "compile each model in several forms, ship the smallest that is shown to be no worse than the model, write\n"
        "the report, and pack signed bundles. OUT/report.html is for people, OUT/index.json ranks the bundles.\n"
        "Started again with the same OUT it keeps what is still valid. Without options: six architectures under two\n"
        "threat models, a host held out.",
        example="trainer build tests/corpus --out build/first --quick",
    )
    parser.add_argument(
        "source", type=Path, metavar="STORE", help="folder of <host_id>/<episode_id>/episode.json, or a dataset"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for all that is made")
    add_fit(parser)
    add_engine(parser)
    parser.add_argument(
        "--include-degraded", action="store_true", help="take degraded episodes too (what is missing is not observed)"
    )
    add_channels(parser)
    key = parser.add_mutually_exclusive_group()
    key.add_argument(
        "--key", type=Path, metavar="FILE", help=f"signing key (default: {shown(signing_key_path)}, made anew)"
    )
    key.add_argument("--unsigned", action="store_true", help="sign nothing: the edge then needs --allow-unsigned")
    parser.add_argument(
        "--allow-float", action="store_true", help="ship a net in float32 if no quantized form of it passes the gate"
    )
    parser.add_argument("--json", action="store_true", help="print the index as JSON")
    parser.set_defaults(work=_build)


def _build(options: argparse.Namespace) -> int:
    from contracts.bundle.keys import load_signing_key

    fit = fit_plan(options, placed(options, options.out))
    schema = _looked_at(options, fit)
    if "gbt" in fit.architectures and shutil.which("cc") is None:
        raise ConfigError("cc", "no such program", expected="a C compiler, for gbt", remedy="install gcc")
    key = load_signing_key(options.key) if options.key else None
    require_packages(fit.architectures)
    if key is None and not options.unsigned:
        key = _own_key()
    from trainer.build import build
    from trainer.plan import BuildPlan
    from trainer.report.tables import leaderboard
    from trainer.workers.progress import say

    plan = BuildPlan(
        source=placed(options, options.source),
        fit=fit,
        schema=schema,
        workers=workers_of(options),
        cluster=options.cluster,
        degraded=options.include_degraded,
        key=key,
        allow_float=options.allow_float,
    )
    index = build(plan)
    if options.json:
        print_json(index)
    else:
        leaderboard(index)
    out = options.out
    say(f"report: {out / 'report.html'}  bundles: {out / 'bundles'}  index: {out / 'index.json'}")
    return 0


def _looked_at(options: argparse.Namespace, fit: FitPlan) -> FeatureSchema | None:
    """The schema to build with, None for a dataset's own. What cannot be built from is refused before a key is made.

    Raises `MissingError`, `ConfigError`, `DatasetError`, `SchemaMismatchError`.
    """
    from trainer.dataset.folder import MANIFEST
    from trainer.dataset.npz import is_legacy
    from trainer.dataset.open import open_dataset
    from trainer.fits.plan import require_fit, require_views
    from trainer.sweep.sweep import require_episodes

    if (options.source / MANIFEST).exists() or is_legacy(options.source):
        schema = schema_of(options) if options.channels else None
        require_fit(open_dataset(options.source, schema), fit)
        return schema
    require_episodes(options.source)
    schema = schema_of(options)
    require_views(options.channels, schema.channels, fit.threat_models)
    return schema


def _own_key() -> SigningKey:
    """The key of this user, made at its first use."""
    from contracts.bundle.keys import generate_key, load_signing_key

    if not signing_key_path().exists():
        public = generate_key(signing_key_path())
        trusted = trust_folder() / public.name
        write_file(trusted, public.read_bytes())
        print(f"trainer: made a signing key, {signing_key_path()}; this machine trusts {trusted}", file=sys.stderr)
    return load_signing_key(signing_key_path())
