"""`edge run` and `edge check-config`."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from contracts.errors import ConfigError
from contracts.shell.owner import become_owner
from edge.commands.options import Commands, add_config, hostname, seconds


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "run",
        help="watch guests that run now",
        description="Watch the guests of a configuration: collectors bring rows ten times a second, every five\n"
        "seconds a window is decided, and events go through a durable outbox to the broker. A source that is gone is\n"
        "masked, said, and taken again when it is back. SIGHUP takes another configuration (a bad one is refused, and\n"
        "the old one stays); what `edge install` installs takes over between two windows; SIGTERM ends it in order.",
        example="edge run --config firmware-config/edge.toml --tee recordings",
    )
    add_config(parser)
    parser.add_argument("--tee", type=Path, metavar="STORE", help="keep what is seen, as [record] does")
    parser.add_argument(
        "--drain-timeout", type=seconds, default=5.0, metavar="S", help="how long to wait for the broker at the end"
    )
    parser.add_argument(
        "--wait", action="store_true", help="where no bundle is installed or no guest is named, wait for one"
    )
    parser.set_defaults(work=_run)

    parser = commands.add_parser(
        "check-config",
        help="read a configuration and say what it means",
        description="Read a configuration as `edge run` would, and start nothing. Exit status 2 where it will not do.",
        example="edge check-config firmware-config/edge.toml",
    )
    parser.add_argument("config", type=Path, metavar="FILE", help="such as firmware-config/edge.toml")
    parser.add_argument("--wait", action="store_true", help="one that names no guest yet will do")
    parser.set_defaults(work=_check)


def _run(options: argparse.Namespace) -> int:
    from edge.config import Config, read_config
    from edge.config.settings import RecordTable
    from edge.session.running import Running, Start
    from edge.session.site import models_of, schema_of, state_of

    def read() -> Config:
        config = read_config(options.config, guests_may_come=options.wait)
        if options.tee is None:
            return config
        if config.record is not None and Path(config.record.store) != options.tee.absolute():
            raise ConfigError(
                "--tee", f"{options.tee}, and [record] says {config.record.store}", expected="one store",
                remedy="leave one of them out",
            )  # fmt: skip
        return msgspec.structs.replace(config, record=config.record or RecordTable(store=str(options.tee.absolute())))

    config = read()
    become_owner(state_of(config))
    schema = schema_of(config)
    start = Start(
        read=read,
        node=config.node or hostname(),
        schema=schema,
        models=lambda config: models_of(config, schema),
        drain_s=options.drain_timeout,
        waits=options.wait,
    )
    return Running(start).run()


def _check(options: argparse.Namespace) -> int:
    from edge.config import read_config
    from edge.session.site import broker_of, schema_of

    config = read_config(options.config, guests_may_come=options.wait)
    broker = broker_of(config)
    schema_of(config)
    print(f"node {config.node or hostname()}, events to {broker.url}")
    for guest in config.guest:
        print(f"guest {guest.id}: {', '.join(config.sources(guest))}")
    return 0
