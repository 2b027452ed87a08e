"""Options that several verbs share, and how their values are checked."""

from __future__ import annotations

import argparse
import math
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from contracts.features.channels import read_channels
from contracts.features.schema import FeatureSchema, feature_schema
from contracts.shell.broker import VERSIONS, Broker, parse_broker
from contracts.shell.cli import Parser
from contracts.shell.owner import become_owner
from contracts.shell.paths import default_trust, shown, state_folder, trust_folder

if TYPE_CHECKING:
    from contracts.bundle.keys import TrustedKeys
    from edge.deploy.site import Site

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


CONFIG = Path("/etc/phasewatch/edge.toml")


def add_config(parser: Parser) -> None:
    """What a live agent watches."""
    parser.add_argument(
        "--config", type=Path, default=CONFIG, metavar="FILE", help=f"what to watch (default: {CONFIG})"
    )


def add_broker(parser: Parser, *, required: bool = True) -> None:
    """Where the broker is, and how one gets in."""
    parser.add_argument(
        "--broker",
        required=required,
        metavar="URL",
        help="mqtt://[user@]host[:port], mqtts://…, ws://…/path or wss://…/path",
    )
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="the broker's password")
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="authorities to trust with mqtts and wss")
    parser.add_argument(
        "--client-certificate", type=Path, metavar="FILE", help="ours, where the broker wants to see one"
    )
    parser.add_argument("--client-key", type=Path, metavar="FILE", help="its key, if it is not in the same file")
    parser.add_argument(
        "--mqtt-version", choices=VERSIONS, help="that and no other (default: 5, and 3.1.1 where 5 is not spoken)"
    )


def broker_of(options: argparse.Namespace) -> Broker:
    """What `add_broker` was told. Raises `ConfigError`."""
    return parse_broker(
        options.broker,
        password_file=options.password_file,
        ca_file=options.ca_file,
        certificate=options.client_certificate,
        key=options.client_key,
        version=options.mqtt_version,
    )


def add_site(parser: Parser) -> None:
    """Where bundles are installed, and what is accepted there."""
    parser.add_argument("--state", type=Path, metavar="DIR", help=f"what is installed (default: {shown(state_folder)})")
    parser.add_argument(
        "--trust", type=Path, metavar="DIR", help=f"folder of trusted keys (default: {shown(trust_folder)})"
    )
    parser.add_argument("--channels", type=Path, metavar="FILE", help="a channel registry of your own (TOML)")


def state_of(options: argparse.Namespace) -> Path:
    """`--state`, or the default; root becomes its owner. Raises `ConfigError`."""
    folder = options.state or state_folder()
    become_owner(folder)
    return folder


def accepted(options: argparse.Namespace) -> tuple[FeatureSchema, TrustedKeys | None]:
    """The feature schema, and who is trusted. Raises `MissingError`, `ConfigError` for what does not read."""
    from contracts.bundle.keys import load_trusted_keys

    schema = feature_schema(read_channels(options.channels) if options.channels else None)
    folder = _trusted(options)
    return schema, None if folder is None else load_trusted_keys(folder)


def site_of(options: argparse.Namespace) -> Site:
    """A trust folder that does not read is said before anything is done. Raises as `accepted` does."""
    from edge.deploy.site import Site

    folder = state_of(options)
    schema, _ = accepted(options)
    return Site(folder=folder, schema=schema, trust_folder=_trusted(options))


def _trusted(options: argparse.Namespace) -> Path | None:
    """Trust that was named must be there; the default folder may be absent."""
    return options.trust or default_trust()


def hostname() -> str:
    """As it may stand in a topic."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", platform.node().partition(".")[0]).strip("-._")[:64] or "edge"


def node(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not made of letters, digits, dots, dashes and underscores")
    return text


def name(text: str) -> str:
    """As a manifest may hold it."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not made of letters, digits, dots, dashes and underscores")
    return text


def speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0.001 <= number <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is neither max nor a number from 0.001 to 1000000")
    return number


def number(text: str, least: float, most: float, what: str) -> float:
    """One within bounds; what: it is, for the refusal."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not least <= found <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of {what}")
    return found


def seconds(text: str) -> float:
    return number(text, 0, 86_400, "seconds up to a day")
