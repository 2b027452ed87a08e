"""`trainer build`."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import msgspec

from contracts.channels import view_of
from contracts.errors import ConfigError
from contracts.keys import SigningKey, generate_key, load_signing_key
from contracts.paths import signing_key_path, trust_folder
from contracts.phases import THREAT_MODELS, ThreatModel
from contracts.telemetry.storage import write_file
from trainer.commands.options import (
    Commands,
    add_channels,
    add_engine,
    add_store,
    listed,
    placed,
    schema_of,
    seed,
    whole,
    workers_of,
)


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "build",
        help="fit, compile, prove, score and pack models",
        description="Fit models to a store of episodes, hold one host out, compile each model, prove that the\n"
        "artifact behaves as the model did, and pack signed bundles. OUT/index.json ranks them. Started again with\n"
        "the same OUT it keeps what is still valid.",
        example="trainer build tests/corpus --out build/first --architectures gbt,cnn --quick",
    )
    add_store(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for all that is made")
    parser.add_argument("--architectures", default="gbt,cnn", metavar="A,…", help="which models (default: gbt,cnn)")
    parser.add_argument(
        "--threat-models", default="realistic,oracle", metavar="T,…", help="what they see (default: realistic,oracle)"
    )
    parser.add_argument("--recipe", default="held_out_host", metavar="R", help="how to split, see `trainer split`")
    parser.add_argument("--held-out", metavar="WHAT", help="what to hold out (default: the recipe's own choice)")
    parser.add_argument(
        "--embargo", type=_seconds, default=60, metavar="S", help="held_out_time: seconds between sides (default: 60)"
    )
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="the same seed gives the same bundles (default: 0)"
    )
    parser.add_argument("--quick", action="store_true", help="shorter fits, for a first look")
    add_engine(parser)
    parser.add_argument(
        "--include-degraded", action="store_true", help="take degraded episodes too (what is missing is not observed)"
    )
    add_channels(parser)
    key = parser.add_mutually_exclusive_group()
    key.add_argument("--key", type=Path, metavar="FILE", help=f"signing key (default: {signing_key_path()}, made anew)")
    key.add_argument("--unsigned", action="store_true", help="sign nothing: the edge then needs --allow-unsigned")
    parser.add_argument("--json", action="store_true", help="print the index as JSON")
    parser.set_defaults(work=_build)


def _seconds(text: str) -> int:
    return whole(text, 0, 10**9)


def _build(options: argparse.Namespace) -> int:
    schema = schema_of(options)
    threat_models = _threat_models(options.threat_models)
    for threat_model in threat_models:
        if not view_of(schema.channels, threat_model):
            raise ConfigError(
                options.channels, f"no channel that {threat_model} may see", expected="one", remedy="add one"
            )
    if "gbt" in listed(options.architectures) and shutil.which("cc") is None:
        raise ConfigError("cc", "no such program", expected="a C compiler, for gbt", remedy="install gcc")
    key = _key(options)
    from trainer.tensorflow import prepare

    try:
        prepare()
    except ModuleNotFoundError as error:
        raise ConfigError(
            "trainer",
            f"no package {error.name}",
            expected="the trainer's packages",
            remedy="install phasewatch[trainer]",
        ) from None
    from trainer.architectures import architecture_named
    from trainer.build import build
    from trainer.plan import BuildPlan
    from trainer.progress import say
    from trainer.split import recipe_named
    from trainer.table import leaderboard

    plan = BuildPlan(
        store=placed(options, options.store),
        out=placed(options, options.out),
        architectures=tuple(architecture_named(name) for name in listed(options.architectures)),
        threat_models=threat_models,
        schema=schema,
        recipe=recipe_named(options.recipe, options.embargo),
        held_out=options.held_out,
        seed=options.seed,
        quick=options.quick,
        workers=workers_of(options),
        cluster=options.cluster,
        degraded=options.include_degraded,
        key=key,
    )
    index = build(plan)
    if options.json:
        sys.stdout.buffer.write(msgspec.json.encode(index) + b"\n")
    else:
        leaderboard(index)
    say(f"bundles: {options.out / 'bundles'}  index: {options.out / 'index.json'}")
    return 0


def _threat_models(text: str) -> tuple[ThreatModel, ...]:
    known = {str(model): model for model in THREAT_MODELS}
    for name in listed(text):
        if name not in known:
            raise ConfigError(
                "--threat-models", f"no threat model {name!r}", expected=", ".join(known), remedy="name those"
            )
    return tuple(known[name] for name in listed(text))


def _key(options: argparse.Namespace) -> SigningKey | None:
    if options.unsigned:
        return None
    if options.key is None and not signing_key_path().exists():
        public = generate_key(signing_key_path())
        trusted = trust_folder() / public.name
        write_file(trusted, public.read_bytes())
        print(f"trainer: made a signing key, {signing_key_path()}; this machine trusts {trusted}", file=sys.stderr)
    return load_signing_key(options.key or signing_key_path())
