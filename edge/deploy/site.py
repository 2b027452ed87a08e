"""One machine: where its bundles are kept, and whom it trusts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from contracts.bundle.keys import TrustedKeys, load_trusted_keys
from contracts.errors import BundleError
from contracts.features.schema import FeatureSchema
from edge.deploy.deployment import Installed, bundle_path
from edge.model.opened import Active, activate


@dataclass(frozen=True, kw_only=True)
class Site:
    """One machine's state folder, and what it accepts. trust_folder: None if nobody is trusted."""

    folder: Path
    schema: FeatureSchema
    trust_folder: Path | None

    @property
    def trust(self) -> TrustedKeys | None:
        """As the folder stands now: an agent that runs for months sees keys come and go."""
        return None if self.trust_folder is None else load_trusted_keys(self.trust_folder)

    def active(self, installed: Installed) -> Active:
        """Verify and open an installed bundle. Raises as `activate` does, and `BundleError` if it is another one."""
        path = bundle_path(self.folder, installed)
        active = activate(path, self.schema, self.trust, allow_unsigned=installed.unsigned)
        if active.ref.digest != installed.digest:
            raise BundleError(
                path, f"bundle {active.ref.name}", expected=installed.name, remedy="install that one again"
            )
        return active
