"""A machine on which bundles are installed, for the tests."""

from __future__ import annotations

from pathlib import Path

from edge.deploy.deployment import Deployment
from edge.deploy.verbs import Site, install


def put(site: Site, bundle: Path, *, shadow: bool = False) -> Deployment:
    return install(site, bundle, allow_unsigned=False, shadow=shadow)[1]


def names(state: Deployment) -> list[str | None]:
    return [None if one is None else one.name[-1] for one in (state.current, state.previous, state.shadow)]


def void(_result: object) -> None:
    """A step of a test gives nothing."""


def files(site: Site) -> set[str]:
    return {path.name for path in (site.folder / "bundles").iterdir()}
