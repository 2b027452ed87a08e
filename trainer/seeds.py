"""Seeds from a seed: of 32 bits whatever the seed is, and unlike each other."""

from __future__ import annotations

import numpy as np


def derived(seed: int, number: int) -> int:
    """The `number`-th seed that follows from one: 0 to 2**32 - 1, as every library takes it."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


def as_int32(seed: int) -> int:
    """The same 32 bits as a signed number, as TensorFlow's stateless operations take them."""
    return (seed + 2**31) % 2**32 - 2**31
