"""From a configuration to what watches: the feature schema, whom to trust, and the models."""

from __future__ import annotations

from pathlib import Path

from contracts.bundle.keys import TrustedKeys, load_trusted_keys
from contracts.features.channels import read_channels
from contracts.features.schema import FeatureSchema, feature_schema
from contracts.shell.paths import default_trust, state_folder
from edge.config import Config
from edge.deploy.follow import Follower
from edge.deploy.site import Site
from edge.model.models import Fixed, Models
from edge.model.opened import activate


def schema_of(config: Config) -> FeatureSchema:
    """Raises `MissingError`, `ConfigError`."""
    channels = config.bundle.channels
    return feature_schema(read_channels(Path(channels)) if channels else None)


def site_of(config: Config, schema: FeatureSchema) -> Site:
    """Where bundles are installed. Raises `MissingError`, `ConfigError`."""
    state = config.bundle.state
    site = Site(folder=Path(state) if state else state_folder(), schema=schema, trust_folder=_trust_folder(config))
    trusted(config)
    return site


def trusted(config: Config) -> TrustedKeys | None:
    """Raises `MissingError`, `ConfigError`."""
    folder = _trust_folder(config)
    return None if folder is None else load_trusted_keys(folder)


def models_of(config: Config, schema: FeatureSchema) -> Models:
    """The bundle that the configuration names, or what is installed, as it changes. Raises as either."""
    bundle = config.bundle
    if bundle.file is None:
        return Follower(site_of(config, schema))
    return Fixed(activate(Path(bundle.file), schema, trusted(config), allow_unsigned=bundle.allow_unsigned))


def _trust_folder(config: Config) -> Path | None:
    return Path(config.bundle.trust) if config.bundle.trust else default_trust()
