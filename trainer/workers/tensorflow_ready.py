"""Load TensorFlow once, quietly, and so that the same seed gives the same weights."""

from __future__ import annotations

import functools
import os

from trainer.workers.hush import hushed


@functools.cache
def prepare() -> None:
    """Import TensorFlow and Keras: deterministic kernels, no banners."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # its kernels choose their order of summation by machine
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    # a keras.json of the user's would change what is computed, and without a home one is written into a folder "~"
    os.environ.setdefault("KERAS_HOME", os.devnull)
    with hushed():
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        # sums over threads round by their number: the same seed shall give the same weights on any number of cores
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, enable=True)  # several fits may share it
