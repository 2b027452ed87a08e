"""Where things live when nobody says otherwise: under systemd in the unit's own folders (systemd.exec(5)), otherwise in
the home folder (XDG Base Directory Specification).

Each raises `ConfigError` where there is no home: it is asked for when it is needed, and not before.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from contracts.errors import ConfigError
from contracts.text import printable

Default: TypeAlias = Callable[[], Path]


def signing_key_path() -> Path:
    """The trainer's private key: not in the trust folder, which gets copied to other machines."""
    return _base("XDG_CONFIG_HOME", ".config", "--key") / "trainer.key"


def trust_folder() -> Path:
    """Public keys of those whose bundles this machine runs."""
    return (_given("CONFIGURATION_DIRECTORY") or _base("XDG_CONFIG_HOME", ".config", "--trust")) / "trust"


def default_trust() -> Path | None:
    """The trust folder, where there is one: nobody has to be trusted. Raises nothing."""
    try:
        folder = trust_folder()
    except ConfigError:
        return None
    return folder if folder.is_dir() else None


def state_folder() -> Path:
    """Installed bundles, and which of them runs."""
    return _given("STATE_DIRECTORY") or _base("XDG_STATE_HOME", ".local/state", "--state")


def outbox_path() -> Path:
    """Events on their way to the broker."""
    return (_given("STATE_DIRECTORY") or _base("XDG_STATE_HOME", ".local/state", "--outbox")) / "outbox.sqlite"


def shown(default: Default) -> str:
    """A default as a help text shows it. Raises nothing."""
    try:
        return printable(str(default()))
    except ConfigError:
        return "none: no home folder"


def _base(variable: str, fallback: str, option: str) -> Path:
    return (_given(variable) or _home(variable, option) / fallback) / "phasewatch"


def _given(variable: str) -> Path | None:
    """An absolute path, or nothing."""
    given = os.environ.get(variable, "")
    return Path(given) if given.startswith("/") else None


def _home(variable: str, option: str) -> Path:
    try:
        home = Path.home()
    except RuntimeError:  # no HOME, and a user of whom no list knows
        home = Path()
    if not home.is_absolute():
        raise ConfigError(
            "the home folder",
            "not known",
            expected="one, where no other place is named",
            remedy=f"set HOME or {variable}, or name {option}",
        )
    return home
