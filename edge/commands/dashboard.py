"""`edge dashboard`."""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from contracts.errors import ConfigError
from contracts.shell.owner import become_owner
from contracts.shell.paths import shown, state_folder
from edge.commands.options import Commands, add_broker, broker_of, hostname, number

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "dashboard",
        help="pages that show what agents send",
        description="Subscribe to what agents send, keep it, and show it on pages: every guest's phase, timelines,\n"
        "scorecards, costs, alarms. By default for this machine alone; elsewhere it wants a password and TLS, or a\n"
        "proxy that sees to both. Needs the packages of phasewatch[dashboard].",
        example="edge dashboard --broker mqtt://127.0.0.1:1883",
    )
    add_broker(parser, required=False)
    parser.add_argument("--listen", default="127.0.0.1:8080", metavar="HOST:PORT", help="default: 127.0.0.1:8080")
    parser.add_argument(
        "--history",
        type=Path,
        metavar="FILE",
        help=f"what was received (default: {shown(state_folder)}/dashboard.sqlite)",
    )
    parser.add_argument("--keep-days", type=_days, default=7.0, metavar="N", help="how long (default: 7)")
    parser.add_argument("--host", action="append", default=[], metavar="NAME", help="by which it may be called, too")
    parser.add_argument("--login-file", type=Path, metavar="FILE", help="the hash of the password that is asked for")
    parser.add_argument("--set-password", type=Path, metavar="FILE", help="ask for a password, write its hash, and end")
    parser.add_argument("--tls-certificate", type=Path, metavar="FILE", help="PEM, of this server")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its key")
    parser.add_argument("--behind-proxy", action="store_true", help="a proxy sees to TLS, and to who may look")
    parser.add_argument("--webhook-file", type=Path, metavar="FILE", help="an address to which alarms are posted")
    parser.set_defaults(work=_dashboard)


def _days(text: str) -> float:
    return number(text, 0.01, 3650, "days from 0.01 to 3650")


def _dashboard(options: argparse.Namespace) -> int:
    try:
        from edge.dashboard import run
    except ImportError as error:
        raise ConfigError(
            "edge dashboard", f"{error.name} is not installed", expected="the packages of the extra `dashboard`",
            remedy="pip install 'phasewatch[dashboard]'",
        ) from None  # fmt: skip
    if options.set_password is not None:
        return _set_password(options.set_password)
    if options.broker is None:
        raise ConfigError("--broker", "none", expected="the broker's address", remedy="say mqtt://host")
    host, port = _listen(options.listen)
    if (options.tls_certificate is None) != (options.tls_key is None):
        raise ConfigError("--tls-certificate", "one of two", expected="a certificate and its key", remedy="name both")
    if host not in _LOOPBACK and not options.behind_proxy and not (options.login_file and options.tls_certificate):
        raise ConfigError(
            "--listen", f"{host} is not this machine alone", expected="--login-file, --tls-certificate and --tls-key",
            remedy="name them, or say --behind-proxy",
        )  # fmt: skip
    history = options.history or state_folder() / "dashboard.sqlite"
    become_owner(history.absolute().parent)
    run.serve(
        run.Options(
            broker=broker_of(options), host=host, port=port, history=history, keep_days=options.keep_days,
            hosts=[one.lower() for one in (*_LOOPBACK, host, hostname(), *options.host)], login=options.login_file,
            certificate=options.tls_certificate, key=options.tls_key, behind_proxy=options.behind_proxy,
            webhook=options.webhook_file,
        )
    )  # fmt: skip
    return 0


def _listen(text: str) -> tuple[str, int]:
    from edge.config.reading import host_and_port

    try:
        return host_and_port(text)
    except ValueError:
        raise ConfigError("--listen", repr(text), expected="host:port", remedy="correct it") from None


def _set_password(path: Path) -> int:
    from edge.dashboard.access import write_password

    if sys.stdin.isatty():
        password, again = getpass.getpass("password: "), getpass.getpass("once more: ")
    else:
        password = again = sys.stdin.readline().rstrip("\r\n")
    if password != again or len(password) < 8:
        found = "two that differ" if password != again else f"{len(password)} characters"
        raise ConfigError("the password", found, expected="eight or more, twice the same", remedy="try again")
    write_password(path, password)
    print(f"{path} holds its hash; name it with --login-file")
    return 0
