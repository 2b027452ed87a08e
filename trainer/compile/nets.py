"""Nets -> TFLite, in three forms. Each takes one window (1, C, T) or (1, F) and gives (1, K), float in and out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from trainer.architectures.net import NetModel


@dataclass(frozen=True)
class Form:
    """A way to write a net down. small: what the compile stage is for."""

    name: str
    small: bool
    convert: Callable[[keras.Model], bytes]


def _float32(net: keras.Model) -> bytes:
    return bytes(_converter(net).convert())


def _float16(net: keras.Model) -> bytes:
    converter = _converter(net)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


def _dynamic_int8(net: keras.Model) -> bytes:
    converter = _converter(net)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return bytes(converter.convert())


FORMS = (
    Form("dynamic int8", small=True, convert=_dynamic_int8),
    Form("float16", small=True, convert=_float16),
    Form("float32", small=False, convert=_float32),
)


def to_tflite(form: str, model: NetModel) -> bytes:
    """One `.tflite`."""
    (chosen,) = (one for one in FORMS if one.name == form)
    return chosen.convert(model.net)


def _converter(net: keras.Model) -> Any:
    _, *shape = net.input_shape
    # A tf.Module holds TensorFlow's own variables: given a Keras 3 model, the converter loses them without a word.
    module = tf.Module()
    module.held = [variable.value for variable in net.variables]

    @tf.function(input_signature=[tf.TensorSpec((1, *shape), tf.float32)])  # type: ignore[untyped-decorator]  # tensorflow has no types
    def one_window(x: Any) -> Any:
        return net(x, training=False)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([one_window.get_concrete_function()], module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    # Otherwise FULLY_CONNECTED comes as version 12, which tflite-runtime 2.14 refuses (private: TensorFlow is pinned).
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return converter
