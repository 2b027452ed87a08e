"""What the tests of deployment share: a site, and three bundles that like different phases."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.features.schema import FeatureSchema
from edge.deploy.site import Site
from tests.bundles import make_bundle


@pytest.fixture
def site(tmp_path: Path, schema: FeatureSchema, signing_key: Path) -> Site:
    return Site(folder=tmp_path / "state", schema=schema, trust_folder=signing_key.parent)


@pytest.fixture
def bundles(tmp_path: Path, schema: FeatureSchema, signing_key: Path) -> list[Path]:
    """Three that like different phases."""
    (tmp_path / "made").mkdir()
    return [make_bundle(tmp_path / "made", schema, signing_key, favourite) for favourite in range(3)]
