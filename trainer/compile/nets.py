"""Nets -> TFLite with dynamic-range quantization: int8 weights, float in and out, masks and scaling in the graph."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from contracts.bundle import Artifact
from trainer.architectures.net import NetModel
from trainer.compile.base import Compiled
from trainer.quiet import hushed


def compile_net(model: NetModel) -> Compiled:
    """One `.tflite` that takes one window (1, C, T), built from TFLite's own operations alone."""
    with hushed():
        data = _convert(model.net)
    return Compiled(
        artifacts=(Artifact(runtime="tflite", member="model.tflite"),),
        members={"model.tflite": data},
        tolerance=0.05,
        quantized=True,
    )


def _convert(net: keras.Model) -> bytes:
    _, *shape = net.input_shape
    # A tf.Module holds TensorFlow's own variables: given a Keras 3 model, the converter loses them without a word.
    module = tf.Module()
    module.held = [variable.value for variable in net.variables]

    @tf.function(input_signature=[tf.TensorSpec((1, *shape), tf.float32)])  # type: ignore[untyped-decorator]  # tensorflow has no types
    def one_window(x: Any) -> Any:
        return net(x, training=False)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([one_window.get_concrete_function()], module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    # Otherwise FULLY_CONNECTED comes as version 12, which tflite-runtime 2.14 refuses (private: TensorFlow is pinned).
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    data: bytes = converter.convert()
    return data
