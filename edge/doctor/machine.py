"""What is no source: the clock, the agent that runs, the bundle, the outbox and its disk."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from contracts.errors import PhasewatchError, StorageError
from contracts.shell.paths import outbox_path
from edge.config import Config
from edge.deliver.tables import waiting
from edge.deploy.deployment import read_deployment
from edge.doctor.steps import Step, fault, note, ok
from edge.model.opened import Active, activate
from edge.session.running import SET_SINCE_NS
from edge.session.site import schema_of, site_of, trusted
from edge.session.status import Status

LITTLE = 200 << 20
"""Bytes left, below which a day of recordings does not fit."""


def clock() -> Step:
    """Whether it is set."""
    shown = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    if time.time_ns() < SET_SINCE_NS:
        return fault("clock", f"{shown}, not set yet", "wait for the time service, or set it; the agent waits too")
    return ok("clock", shown)


def bundle(config: Config) -> Step:
    """Whether it opens, and its golden vectors come out here."""
    try:
        active = _active(config)
    except PhasewatchError as error:
        return fault("bundle", f"{error.where}: {error.found}", error.remedy)
    if active is None:
        return fault("bundle", "none is installed", "edge install FILE --state DIR --trust DIR")
    vouched = "signed" if active.ref.key is not None else "UNSIGNED"
    return ok("bundle", f"{active.ref.name} in {active.runtime.name}, {vouched}; its golden vectors come out")


def _active(config: Config) -> Active | None:
    """Opened as the agent would, without a trace in the state folder."""
    schema, table = schema_of(config), config.bundle
    if table.file is not None:
        return activate(Path(table.file), schema, trusted(config), allow_unsigned=table.allow_unsigned)
    site = site_of(config, schema)
    installed = read_deployment(site.folder).current
    return None if installed is None else site.active(installed)


def outbox(config: Config, running: Status | None) -> Iterator[Step]:
    """How many events wait, and how much room there is."""
    path = outbox_path() if config.outbox.file is None else Path(config.outbox.file)
    if running is not None:
        yield ok("outbox", f"{running.outbox_depth} events wait, says the agent that runs")
    elif path.exists():
        try:
            yield ok("outbox", f"{waiting(path)} events wait in {path}")
        except StorageError as error:
            yield fault("outbox", f"{path}: {error.found}", error.remedy)
    else:
        yield ok("outbox", f"{path}: not there yet; the agent makes it")
    folder = next(place for place in (path.absolute().parent, *path.absolute().parents) if place.exists())
    free = shutil.disk_usage(folder).free
    if free < LITTLE:
        yield note("disk", f"{free >> 20} MB left at {folder}", "free some space")
    else:
        yield ok("disk", f"{free >> 30} GB left at {folder}")


def agent(running: Status | None) -> Step:
    """Whether one runs."""
    if running is None:
        return note("agent", "none runs", "edge run --config FILE, or systemctl start phasewatch-edge")
    return ok("agent", f"runs as process {running.pid}; {running.sentence}")
