"""`edge record` and `edge mark`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from contracts.shell.owner import become_owner
from contracts.vocabulary import CLEAN, PHASES
from edge.commands.options import Commands, add_config, hostname, name, number


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "record",
        help="record a guest of your own, with labels",
        description="Record one guest that runs, by the collectors of `edge run`, as one labelled episode. It begins\n"
        "in the phase of --phase; `edge mark PHASE` says when another begins. Ctrl-C ends the episode whole. It waits\n"
        "for a clock that is set, and for the guest. Nothing is decided and nothing is published.",
        example="edge record --config edge.toml --out recordings --profile bursty-c2 --sample mine-1",
    )
    add_config(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="STORE", help="where the episode goes")
    parser.add_argument("--guest", metavar="ID", help="which of the configuration (default: the only one)")
    parser.add_argument(
        "--profile", type=name, default="own", metavar="P", help="the family of behaviour (default: own)"
    )
    parser.add_argument("--sample", type=name, metavar="S", help="the variant within it (default: the guest's id)")
    parser.add_argument("--phase", choices=PHASES, default=CLEAN, help=f"how it begins (default: {CLEAN})")
    parser.add_argument("--minutes", type=_minutes, metavar="M", help="end by itself after so long")
    parser.add_argument(
        "--mqtt", action="store_true", help="take marks from the broker of [broker] too, phasewatch/NODE/GUEST/mark"
    )
    parser.set_defaults(work=_record)

    parser = commands.add_parser(
        "mark",
        help="say which phase a recorded guest is in now",
        description="Tell a running `edge record` that another phase has begun: now, or at a moment that has passed,\n"
        "but not before the mark that came last.",
        example="edge mark infecting --config edge.toml --ago 2.5",
    )
    parser.add_argument("phase", choices=PHASES, metavar="PHASE", help=", ".join(PHASES))
    add_config(parser)
    parser.add_argument("--guest", metavar="ID", help="which of the configuration (default: the only one)")
    when = parser.add_mutually_exclusive_group()
    when.add_argument("--at", metavar="TIME", help="since when, as ISO 8601; UTC where it names no zone")
    when.add_argument("--ago", type=_seconds, metavar="S", help="since when, in seconds before now")
    parser.set_defaults(work=_mark)


def _minutes(text: str) -> float:
    return number(text, 0.01, 60 * 24 * 31, "minutes up to a month")


def _seconds(text: str) -> float:
    return number(text, 0, 86_400 * 31, "seconds up to a month")


def _record(options: argparse.Namespace) -> int:
    from edge.config import read_config
    from edge.session.by_hand import ByHand, Wanted, guest_of
    from edge.session.site import state_of

    config = read_config(options.config)
    guest = guest_of(config, options.guest)
    become_owner(state_of(config))
    wanted = Wanted(
        config=config,
        guest=guest,
        node=config.node or hostname(),
        store=options.out.absolute(),
        profile=options.profile,
        sample=options.sample or guest.id,
        phase=options.phase,
        seconds=None if options.minutes is None else 60 * options.minutes,
        by_mqtt=options.mqtt,
    )
    for folder in ByHand(wanted).run():
        print(folder)
    return 0


def _mark(options: argparse.Namespace) -> int:
    from edge.config import read_config
    from edge.session.by_hand import guest_of
    from edge.session.marks import Order, moment, send_mark
    from edge.session.site import state_of

    config = read_config(options.config)
    guest = guest_of(config, options.guest)
    become_owner(state_of(config))
    at_ns = None
    if options.at is not None:
        at_ns = moment(options.at)
    elif options.ago is not None:
        at_ns = time.time_ns() - round(options.ago * 1e9)
    print(send_mark(state_of(config), guest.id, Order(phase=options.phase, at_ns=at_ns)))
    return 0
