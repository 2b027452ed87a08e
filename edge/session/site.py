"""From a configuration to what watches, and where that goes: feature schema, whom to trust, models, broker."""

from __future__ import annotations

from pathlib import Path

from contracts.bundle.keys import TrustedKeys, load_trusted_keys
from contracts.features.channels import read_channels
from contracts.features.schema import FeatureSchema, feature_schema
from contracts.shell.broker import Broker, parse_broker
from contracts.shell.paths import default_trust, state_folder
from edge.config import Config
from edge.deploy.deployment import read_deployment
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
    site = Site(folder=state_of(config), schema=schema, trust_folder=_trust_folder(config))
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


def bundle_of(config: Config) -> str | None:
    """What would watch: the file that is named, or the name of what is installed. Raises as `read_deployment`."""
    if config.bundle.file is not None:
        return config.bundle.file
    current = read_deployment(state_of(config)).current
    return None if current is None else current.name


def state_of(config: Config) -> Path:
    """The agent's own folder. Raises `ConfigError` where there is no home."""
    return Path(config.bundle.state) if config.bundle.state else state_folder()


def broker_of(config: Config) -> Broker:
    """Where events go. Raises `ConfigError`."""
    table = config.broker
    return parse_broker(
        table.url,
        password_file=None if table.password_file is None else Path(table.password_file),
        ca_file=None if table.ca_file is None else Path(table.ca_file),
        certificate=None if table.client_certificate is None else Path(table.client_certificate),
        key=None if table.client_key is None else Path(table.client_key),
        version=table.mqtt_version,
    )


def _trust_folder(config: Config) -> Path | None:
    return Path(config.bundle.trust) if config.bundle.trust else default_trust()
