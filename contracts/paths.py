"""Where things live when nobody says otherwise (XDG Base Directory Specification)."""

from __future__ import annotations

import os
from pathlib import Path


def _base(variable: str, fallback: str) -> Path:
    given = os.environ.get(variable, "")
    return (Path(given) if given.startswith("/") else Path.home() / fallback) / "phasewatch"


def signing_key_path() -> Path:
    """The trainer's private key: not in the trust folder, which gets copied to other machines."""
    return _base("XDG_CONFIG_HOME", ".config") / "trainer.key"


def trust_folder() -> Path:
    """Public keys of those whose bundles this machine runs."""
    return _base("XDG_CONFIG_HOME", ".config") / "trust"


def state_folder() -> Path:
    """Installed bundles, and which of them runs."""
    return _base("XDG_STATE_HOME", ".local/state")


def outbox_path() -> Path:
    """Events on their way to the broker."""
    return _base("XDG_STATE_HOME", ".local/state") / "outbox.sqlite"
