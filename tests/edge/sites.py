"""A machine on which bundles are installed, for the tests."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import wait
from dataclasses import dataclass, field
from pathlib import Path

from edge.deploy.deployment import Deployment, Installed, read_deployment
from edge.deploy.follow import Follower
from edge.deploy.site import Site
from edge.deploy.verbs import install
from edge.model.opened import Active


@dataclass(frozen=True, kw_only=True)
class Eventful(Site):
    """A machine on which something happens as an agent opens a bundle. on_opening: by the bundle's name."""

    on_opening: dict[str, Callable[[], object]] = field(default_factory=dict)

    def active(self, installed: Installed) -> Active:
        self.on_opening.get(installed.name, lambda: None)()
        return super().active(installed)


def eventful(site: Site) -> Eventful:
    """The same machine."""
    return Eventful(folder=site.folder, schema=site.schema, trust_folder=site.trust_folder)


def put(site: Site, bundle: Path, *, shadow: bool = False) -> Deployment:
    return install(site, bundle, allow_unsigned=False, shadow=shadow)[1]


def names(state: Deployment) -> list[str | None]:
    return [None if one is None else one.name[-1] for one in (state.current, state.previous, state.shadow)]


def void(_result: object) -> None:
    """A step of a test gives nothing."""


def files(site: Site) -> set[str]:
    return {path.name for path in (site.folder / "bundles").iterdir()}


def loaded(models: Follower) -> None:
    """Wait until what is on disk by now was opened beside the running bundle; the next `poll` takes it."""
    if models._loading is None:
        assert models.poll() is False
    if models._loading is not None:
        assert wait([models._loading], timeout=30).not_done == set()


def strikes(site: Site) -> list[int]:
    """Of the current bundle, the previous one and the shadow, as far as they are there."""
    state = read_deployment(site.folder)
    return [one.starts for one in (state.current, state.previous, state.shadow) if one is not None]


def ridden(models: Follower) -> str | None:
    return None if models.shadow is None else models.shadow.ref.name
