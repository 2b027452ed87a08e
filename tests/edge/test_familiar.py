"""Windows unlike anything learned from: the p-value against its definition, and what bundles and events say."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.bundle.familiar import CENTRES, MEMBER, Familiar
from contracts.bundle.keys import load_trusted_keys
from contracts.errors import BundleError
from contracts.features.channels import view_of
from contracts.features.schema import FeatureSchema
from contracts.telemetry.episode import Episode
from edge.familiar import nearest, p_values, standardised
from edge.model.opened import activate
from tests.bundles import make_bundle
from tests.edge.replayed import windows_of


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300))
def test_the_nearest_centre_is_the_one_with_the_least_mean_square_over_what_was_observed(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    points, centres = rng.normal(size=(n, 4)) * 2, rng.normal(size=(7, 4))
    points[rng.random(points.shape) < 0.3] = np.nan
    points = standardised(points, np.zeros(4), np.ones(4))
    found, which = nearest(points, centres)
    for point, distance, at in zip(points, found, which, strict=True):
        seen = ~np.isnan(point)
        if not seen.any():
            assert np.isnan(distance)
            continue
        naive = np.sqrt(((point[seen] - centres[:, seen]) ** 2).mean(axis=1))
        assert distance == pytest.approx(naive.min(), abs=1e-6)
        assert naive[at] == pytest.approx(naive.min(), abs=1e-6)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=60), st.floats(0, 10))
def test_a_p_value_counts_the_windows_that_are_as_far_and_the_window_itself(tuned: list[float], one: float) -> None:
    (found,) = p_values(np.array([one]), np.sort(tuned))
    assert found == pytest.approx((1 + sum(d >= one for d in tuned)) / (1 + len(tuned)))


def test_where_nothing_was_observed_nothing_is_unfamiliar() -> None:
    assert p_values(np.array([np.nan]), np.zeros(500)).tolist() == [1.0]


def test_at_most_one_window_in_a_hundred_of_the_same_kind_is_flagged() -> None:
    """The promise of split conformal prediction, for exchangeable windows: over many sets to compare with."""
    rng = np.random.default_rng(0)
    shares = [
        (p_values(rng.gamma(2.0, size=400), np.sort(rng.gamma(2.0, size=1000))) < 0.01).mean() for _ in range(200)
    ]
    assert 0.0085 < np.mean(shares) < 0.0115  # 10 in 1,001, and four deviations of that mean


def seen(schema: FeatureSchema, away: float, distances: int = 200) -> dict[str, bytes]:
    """Members of a bundle that learned from one window, so many deviations from 0, of `everyday`."""
    channels = len(view_of(schema.channels, "realistic"))
    document = Familiar(
        profiles=("everyday",), tested=("io-walk",), distances=tuple(i / 1000 for i in range(distances))
    )
    return {
        MEMBER: msgspec.json.encode(document),
        CENTRES: np.full((1, channels), away, "<f2").tobytes(),
    }


def test_an_unfamiliar_window_is_flagged_and_says_what_it_is_least_unlike(
    tmp_path: Path, schema: FeatureSchema, signing_key: Path, episode: Episode
) -> None:
    def made(name: str, more: dict[str, bytes]) -> Path:
        (tmp_path / name).mkdir()
        return make_bundle(tmp_path / name, schema, signing_key, more=more)

    found = windows_of(made("far", seen(schema, -4.0)), schema, episode, signing_key, tmp_path / "far.db")
    assert all("unfamiliar" in window["flags"] for window in found)
    assert found[0]["nearest"] == {"profile": "everyday", "tested": False, "p": pytest.approx(1 / 201, abs=1e-6)}
    few = windows_of(made("few", seen(schema, -4.0, distances=50)), schema, episode, signing_key, tmp_path / "few.db")
    assert {window["nearest"] for window in few} == {None}  # fifty windows cannot say one in a hundred
    old = windows_of(made("old", {}), schema, episode, signing_key, tmp_path / "old.db")
    assert {window["nearest"] for window in old} == {None}


SPOILT = {
    "centres of another width": lambda m: m.update({CENTRES: m[CENTRES][:-2]}),
    "no centres": lambda m: m.pop(CENTRES),
    "centres that are no numbers": lambda m: m.update({CENTRES: b"\xff\x7f" * (len(m[CENTRES]) // 2)}),
    "distances in disorder": lambda m: m.update({MEMBER: m[MEMBER].replace(b"0.001", b"0.9")}),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_bundle_that_says_nonsense_of_what_it_saw_is_refused(
    tmp_path: Path, schema: FeatureSchema, signing_key: Path, how: str
) -> None:
    members = seen(schema, 0.0)
    SPOILT[how](members)
    bundle = make_bundle(tmp_path, schema, signing_key, more=members)
    with pytest.raises(BundleError, match=r"familiar\.json: 1 windows in \d+ bytes, 200 distances; expected finite"):
        activate(bundle, schema, load_trusted_keys(signing_key.parent))
