"""Options that several verbs share, and how their values are checked."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from contracts.errors import ConfigError, RevokedKeyError
from contracts.shell.cli import Parser
from contracts.shell.paths import default_trust, shown, trust_folder
from trainer.workers.cluster import address

if TYPE_CHECKING:
    from contracts.bundle.archive import Bundle
    from contracts.bundle.keys import TrustedKeys
    from contracts.features.schema import FeatureSchema

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def add_store(parser: Parser) -> None:
    parser.add_argument("store", type=Path, metavar="STORE", help="folder of <host_id>/<episode_id>/episode.json")


def add_engine(parser: Parser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers",
        type=workers,
        metavar="N",
        help="processes on this machine (default: one per core)",
    )
    where.add_argument(
        "--cluster", type=address, metavar="URL", help="a Dask scheduler, tcp://host:8786 (docs/cluster.md)"
    )


def workers_of(options: argparse.Namespace) -> int:
    """`--workers`, or one per core that we may use."""
    return options.workers or len(os.sched_getaffinity(0))


def placed(options: argparse.Namespace, path: Path) -> Path:
    """A path as the workers must be told it: those of a cluster have working folders of their own."""
    return path.absolute() if options.cluster else path


def add_channels(parser: Parser) -> None:
    parser.add_argument("--channels", type=Path, metavar="FILE", help="a channel registry of your own (TOML)")


def add_trust(parser: Parser) -> None:
    parser.add_argument(
        "--trust", type=Path, metavar="DIR", help=f"folder of trusted keys (default: {shown(trust_folder)})"
    )


def trust_of(options: argparse.Namespace) -> TrustedKeys | None:
    """Trust that was named must be there; the default folder may be absent."""
    from contracts.bundle.keys import load_trusted_keys

    folder = options.trust or default_trust()
    return None if folder is None else load_trusted_keys(folder)


def read_to_show(path: Path, trust: TrustedKeys | None) -> tuple[Bundle, str]:
    """A bundle that may be looked at whoever signed it, and who that is, in words. Raises as `read_bundle` does."""
    from contracts.bundle.archive import read_bundle

    try:
        bundle = read_bundle(path, schema=None, trust=trust, allow_unsigned=True)
    except RevokedKeyError as error:
        return read_bundle(path, schema=None, trust=None, allow_unsigned=True), f"REVOKED: {error.found}"
    return bundle, bundle.key or "NOBODY that is trusted here"


def schema_of(options: argparse.Namespace) -> FeatureSchema:
    """The feature schema over `--channels`, or over the 46."""
    from contracts.features.channels import read_channels
    from contracts.features.schema import feature_schema

    return feature_schema(read_channels(options.channels) if options.channels else None)


def whole(text: str, low: int, high: int) -> int:
    """A whole number within bounds."""
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {low} to {high}")
    return int(text)


def workers(text: str) -> int:
    return whole(text, 1, 1024)


def seed(text: str) -> int:
    return whole(text, 0, 2**32 - 1)


def listed(text: str) -> list[str]:
    """Names between commas, each once. Raises `ConfigError` for none."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise ConfigError("trainer", f"an empty list {text!r}", expected="a name or more", remedy="name one")
    return names
