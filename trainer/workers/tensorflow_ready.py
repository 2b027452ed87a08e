"""Load TensorFlow once, quietly, and so that the same seed gives the same weights."""

from __future__ import annotations

import contextlib
import functools
import importlib.abc
import os
import sys
from collections.abc import Iterator

from trainer.workers.hush import hushed

_UNUSED = frozenset({"IPython", "PIL", "jax", "matplotlib", "pandas", "scipy", "sklearn"})
"""What TensorFlow and Keras import where it is installed, and use in parts that are not used here."""


class _NotNow(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, _path: object, _target: object = None) -> None:
        """Says of what is unused that it is not there."""
        if name in _UNUSED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@contextlib.contextmanager
def _without_unused() -> Iterator[None]:
    """They are two fifths of the time that it takes to load both, in each of a build's processes."""
    finder = _NotNow()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@functools.cache
def load() -> None:
    """Import TensorFlow and Keras, without banners. It starts no thread that a fork would lose."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # its kernels choose their order of summation by machine
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    # a keras.json of the user's would change what is computed, and without a home one is written into a folder "~"
    os.environ.setdefault("KERAS_HOME", os.devnull)
    with hushed(), _without_unused():
        import keras  # noqa: F401 # loaded now, so that it finds none of the unused either
        import tensorflow  # noqa: F401 # the same; `prepare` sets it up


def prepare_for(architecture: str) -> None:
    """`prepare`, where a model is a net: trees need none of it."""
    if architecture != "gbt":
        prepare()


@functools.cache
def prepare() -> None:
    """`load`, and deterministic kernels."""
    load()
    with hushed():
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        # sums over threads round by their number: the same seed must give the same weights on any number of cores
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, enable=True)  # several fits may share it
