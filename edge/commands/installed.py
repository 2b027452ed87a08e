"""What the verbs on bundles do. Apart from their options, since it brings numpy and what opens a bundle."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from functools import partial
from pathlib import Path

import msgspec

from contracts.bundle.archive import MAX_BUNDLE
from contracts.errors import BundleError, ConfigError, MissingError, PhasewatchError
from contracts.files import read_file, sha256
from contracts.shell.cli import print_json
from contracts.shell.paths import state_folder
from contracts.text import printable
from edge.commands.options import accepted, site_of, state_of
from edge.deploy.deployment import Deployment, Installed, read_deployment
from edge.deploy.first_try import tried_apart
from edge.deploy.site import Site
from edge.deploy.source import Offer, offered, was_installed
from edge.deploy.verbs import dismiss, install, promote, rollback
from edge.model.opened import Active, activate
from edge.session.status import Status as Running
from edge.session.status import read_status


class Standing(msgspec.Struct, kw_only=True):
    """One installed bundle. runtime: what would run it here; key: who vouches for it; fault: why it cannot run."""

    name: str
    digest: str
    proven: bool
    starts: int
    runtime: str | None
    key: str | None
    fault: str | None


class Status(msgspec.Struct, kw_only=True):
    """What `edge status --json` prints."""

    state: str
    schema_hash: str
    current: Standing | None
    previous: Standing | None
    shadow: Standing | None
    returned: dict[str, str | None] | None
    running: Running | None


def install_bundle(options: argparse.Namespace) -> int:
    """`edge install`."""
    options.state = options.state or state_folder()
    status = 0
    while True:
        offer = offered(options.bundle)  # before root becomes the agent's user, who may not read it
        if options.once and was_installed(state_of(options), sha256(offer.data)):
            _say(f"{offer.where} was installed here before: nothing is done")
            return status
        status = _install(options, offer)
        if not (options.once and Path(options.bundle).is_dir()):
            return status
        # meanwhile another may have come into the folder, which nobody tells again


def _install(options: argparse.Namespace, offer: Offer) -> int:
    began = time.monotonic()
    site = site_of(options)
    active, state = install(
        site, offer.where, data=offer.data, allow_unsigned=options.allow_unsigned, shadow=options.shadow,
        first=tried_apart,
    )  # fmt: skip
    took = f"{time.monotonic() - began:.2f} s"
    if options.shadow:
        _say(f"{active.ref.name} rides along through {active.runtime.name}, verified and self-tested in {took}")
        return 0
    status = _switched(active, state)
    _say(f"verified and self-tested in {took}")
    return status


def _switched(active: Active, state: Deployment) -> int:
    before = f"; before: {state.previous.name}" if state.previous else ""
    _say(f"{active.ref.name} is the current bundle, through {active.runtime.name}{before}")
    return 0


def roll_back(options: argparse.Namespace) -> int:
    """`edge rollback`."""
    return _switched(*rollback(site_of(options), tried_apart))


def promote_shadow(options: argparse.Namespace) -> int:
    """`edge promote`."""
    return _switched(*promote(site_of(options), tried_apart))


def dismiss_shadow(options: argparse.Namespace) -> int:
    """`edge dismiss`."""
    dismiss(state_of(options))
    _say("no bundle rides along")
    return 0


def self_test(options: argparse.Namespace) -> int:
    """`edge self-test`."""
    if options.bundle is not None:
        data = read_file(options.bundle, MAX_BUNDLE)
        with contextlib.suppress(ConfigError):  # no home, and no folder whose owner to become
            state_of(options)
        where, (schema, trust) = str(options.bundle), accepted(options)
        opened = partial(activate, options.bundle, schema, trust, allow_unsigned=options.allow_unsigned, data=data)
    else:
        site = site_of(options)
        current = read_deployment(site.folder).current
        if current is None:
            raise MissingError(
                site.folder, "no bundle is installed", expected="one", remedy="name a file, or install one first"
            )
        where, opened = f"bundle {current.name}", partial(site.active, current)
    tried_apart(where, opened)
    active = opened()
    manifest = active.bundle.manifest
    _say(f"{manifest.name}: golden vectors come out within {manifest.tolerance:g} in {active.runtime.name}")
    return 0


def status(options: argparse.Namespace) -> int:
    """`edge status`."""
    site = site_of(options)
    state = read_deployment(site.folder)
    running = read_status(site.folder)
    roles = {"current": state.current, "previous": state.previous, "shadow": state.shadow}
    installed = {role: one for role, one in roles.items() if one is not None}
    # every fork comes before the first is opened here: a runtime may start threads
    faults = {role: _ends_a_process(site, one) for role, one in installed.items()}
    standings = {role: _standing(site, one, faults[role]) for role, one in installed.items()}
    found = Status(
        state=printable(str(site.folder)),
        schema_hash=site.schema.hash,
        current=standings.get("current"),
        previous=standings.get("previous"),
        shadow=standings.get("shadow"),
        returned=None if state.returned is None else msgspec.structs.asdict(state.returned),
        running=running,
    )
    if options.json:
        print_json(found)
    else:
        for role in roles:
            print(f"{role:<10}{_in_words(standings.get(role))}")
        if found.returned is not None:
            print(f"returned  from {found.returned['left']}: {found.returned['why']}")
        if running is not None:
            print(f"running   {printable(running.sentence)}")
        for guest in () if running is None else running.guests:
            print(f"drift     {guest.id}: {_far(guest.drifted)}")
    return int(any(one.fault is not None for one in standings.values()))


def _far(drifted: dict[str, float] | None) -> str:
    if drifted is None:
        return "not enough windows yet, or a bundle that says nothing of its training side"
    far = ", ".join(f"{channel} {index:.2f}" for channel, index in drifted.items())
    return f"far from the training side: {far}" if far else "no channel is far from the training side"


def _ends_a_process(site: Site, installed: Installed) -> str | None:
    """Why it must not be opened here."""
    try:
        tried_apart(f"bundle {installed.name}", partial(site.active, installed))
    except BundleError as error:
        return str(error)
    return None


def _standing(site: Site, installed: Installed, fault: str | None) -> Standing:
    active = None
    if fault is None:
        try:
            active = site.active(installed)
        except PhasewatchError as error:
            fault = str(error)
    return Standing(
        name=installed.name,
        digest=installed.digest,
        proven=installed.proven,
        starts=installed.starts,
        runtime=active.runtime.name if active else None,
        key=active.ref.key if active else None,
        fault=fault,
    )


def _in_words(one: Standing | None) -> str:
    if one is None:
        return "none"
    if one.fault is not None:
        return f"{one.name}  CANNOT RUN: {one.fault}"
    trial = "proven" if one.proven else f"on trial, {one.starts} start{'' if one.starts == 1 else 's'}"
    return f"{one.name}  through {one.runtime}, {f'signed by {one.key}' if one.key else 'UNSIGNED'}, {trial}"


def _say(line: str) -> None:
    print(f"edge: {line}", file=sys.stderr, flush=True)
