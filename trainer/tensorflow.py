"""Load TensorFlow once, quietly, and so that the same seed gives the same weights."""

from __future__ import annotations

import os

from trainer.quiet import hushed


def prepare() -> None:
    """Import TensorFlow and Keras: deterministic kernels, no banners."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its kernels choose their order of summation by machine
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with hushed():
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        tf.config.list_physical_devices()
