"""The same seed, the same net, also where other threads use Python's own generator."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import keras
from keras.src.random import seed_generator


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Layers made inside start from `seed` and nothing else.

    Keras draws a layer's seed from Python's global generator, and so does the thread with which a Dask worker talks to
    its scheduler (for its pauses): on a busy machine the one took numbers of the other's. The numbers are the same
    that the global one would have given. (Private: Keras has no other way to say where they come from.)
    """
    keras.utils.set_random_seed(seed)
    before = seed_generator.python_random
    seed_generator.python_random = random.Random(seed)  # noqa: S311 # weights are no secrets
    try:
        yield
    finally:
        seed_generator.python_random = before
