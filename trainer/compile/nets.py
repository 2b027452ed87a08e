"""Nets -> TFLite, in four forms. Each takes one window (1, C, T) or (1, F) and gives (1, K), float in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.lite.tools import flatbuffer_utils

from trainer.architectures.inputs import Standardise
from trainer.architectures.net import NetModel
from trainer.compile.flatbuffer import with_biases

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Form:
    """A way to write a net down. small: what the compile stage is for; portable: the same decisions on a Pi."""

    name: str
    small: bool
    portable: bool
    convert: Callable[[keras.Model, Floats], bytes]


def _float32(net: keras.Model, _examples: Floats) -> bytes:
    return bytes(_converter(net).convert())


def _float16(net: keras.Model, _examples: Floats) -> bytes:
    converter = _converter(net)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


def _dynamic_int8(net: keras.Model, _examples: Floats) -> bytes:
    converter = _converter(net)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return bytes(converter.convert())


def _full_int8(net: keras.Model, examples: Floats) -> bytes:
    """An int8 body between a float head and a float softmax, in one graph.

    Over the raw channels one input scale would have to span six decades; and of a softmax in int8 nothing is left below
    1/256, which is where a false positive rate of 1 % is decided.
    """
    for layer in net.layers:
        if hasattr(layer, "unroll"):
            layer.unroll = True  # a loop takes the int8 converter down (signal 11)

    def windows() -> Iterator[list[Floats]]:
        yield from ([window[None]] for window in examples)

    head = _outputs_of(Standardise, net)
    converter = _converter(net)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = windows
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    # TensorFlow's own tool to leave some of a graph in float; what it calls debugging is choosing
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=windows,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=head, denylisted_ops=["SOFTMAX"]),
    )
    return with_biases(bytes(debugger.get_nondebug_quantized_model()))


FORMS = (
    Form("full int8", small=True, portable=False, convert=_full_int8),
    Form("dynamic int8", small=True, portable=True, convert=_dynamic_int8),
    Form("float16", small=True, portable=True, convert=_float16),
    Form("float32", small=False, portable=True, convert=_float32),
)


def to_tflite(form: str, model: NetModel, examples: Floats) -> bytes:
    """One `.tflite`. examples: (R, C, T) or (R, F) training windows that int8 scales are chosen by."""
    (chosen,) = (one for one in FORMS if one.name == form)
    return chosen.convert(model.net, examples)


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


def _outputs_of(kind: type[keras.layers.Layer], net: keras.Model) -> list[str]:
    """Names, in the converted graph, of what layers of a kind compute."""
    (layer,) = (layer.name for layer in net.layers if isinstance(layer, kind))
    graph = flatbuffer_utils.convert_bytearray_to_object(bytearray(_converter(net).convert())).subgraphs[0]
    names = [graph.tensors[output].name.decode() for operator in graph.operators for output in operator.outputs]
    return [name for name in names if f"/{layer}" in name]
