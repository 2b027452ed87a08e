"""Seeds that follow from a seed."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.seeds import as_int32, derived

LARGEST = 2**32 - 1


@given(st.integers(0, LARGEST), st.integers(0, 10_000))
def test_derived_seeds_fit_in_32_bits_and_follow_from_their_seed_alone(seed: int, number: int) -> None:
    assert 0 <= derived(seed, number) <= LARGEST
    assert derived(seed, number) == derived(seed, number) != derived(seed, number + 1)


@given(st.integers(0, LARGEST))
def test_a_signed_seed_is_the_same_32_bits(seed: int) -> None:
    assert np.int32(as_int32(seed)).tobytes() == np.uint32(seed).tobytes()
