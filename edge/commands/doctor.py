"""`edge doctor`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import PhasewatchError
from contracts.shell.cli import print_json
from contracts.shell.owner import become_owner
from contracts.text import printable
from edge.commands.options import Commands, add_config

if TYPE_CHECKING:
    from edge.config import Config
    from edge.doctor.steps import Step


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "doctor",
        help="say what is missing, step by step",
        description="Look at the configuration, each source of each guest, the bundle, the outbox and the way to the\n"
        "broker: one line each, with the remedy. Where an agent runs, its sources are told as it sees them.\n"
        "Root looks as the owner of the state folder. Exit status 1 if there is a fault.",
        example="edge doctor --config firmware-config/edge.toml",
    )
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="the same for a program to read")
    parser.set_defaults(work=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    steps = []
    for step in _steps(options.config):
        steps.append(step)
        if not options.json:
            print(printable(str(step)), flush=True)
    if options.json:
        print_json(steps)
    return int(any(step.verdict == "fault" for step in steps))


def _steps(path: Path) -> Iterator[Step]:
    from edge.doctor import machine
    from edge.doctor.steps import fault, note, ok

    yield machine.clock()
    try:
        config = _read(path)
    except PhasewatchError as error:
        remedy = error.remedy if path.exists() else "copy firmware-config/edge.toml there, and adapt it"
        yield fault("config", f"{error.where}: {error.found}", remedy)
        yield fault("the rest", "not looked at", "it needs the configuration")
        return
    yield ok("config", f"{path}: {len(config.guest)} guests")
    if not config.guest:
        yield note("guests", "none yet", f"write a [[guest]] into {path}")
    yield from _with(config)


def _read(path: Path) -> Config:
    from edge.config import read_config

    return read_config(path, guests_may_come=True)


def _with(config: Config) -> Iterator[Step]:
    from edge.deliver.probe import probe
    from edge.doctor import machine
    from edge.doctor.sources import guest_steps, netflow_steps
    from edge.doctor.steps import fault, ok
    from edge.session.site import broker_of, state_of
    from edge.session.status import read_status

    become_owner(state_of(config))  # what root may read says nothing of what the agent may
    running = read_status(state_of(config))
    yield machine.agent(running)
    if running is not None:
        for guest in running.guests:
            for source in guest.up:
                yield ok(f"{guest.id} {source}", "up, says the agent")
            for source, why in guest.down.items():
                found, _, remedy = why.rpartition("; ")
                yield fault(f"{guest.id} {source}", found or why, remedy)
    else:
        for one in config.guest:
            yield from guest_steps(one)
        yield from netflow_steps(config)
    yield machine.bundle(config)
    yield from machine.outbox(config, running)
    try:
        broker = broker_of(config)
    except PhasewatchError as error:
        yield fault("broker", error.found, error.remedy)
        return
    for stage in probe(broker):
        name = f"broker {stage.stage}"
        yield fault(name, stage.found, stage.remedy) if stage.remedy else ok(name, stage.found)
