"""What a TFLite model really is, read from its flatbuffer: operators and their versions, and which tensors are int8."""

from __future__ import annotations

from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from trainer.compile.base import Facts

_NAMES = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
_NUMBERS = (
    schema.TensorType.FLOAT32,
    schema.TensorType.FLOAT16,
    schema.TensorType.INT32,
    schema.TensorType.INT8,
)


def with_biases(data: bytes) -> bytes:
    """The same int8 model, with a bias of zeros wherever a FULLY_CONNECTED has none.

    The schema allows to leave it out, but the NEON kernel of tflite-runtime 2.14 reads it all the same, and dies of it
    (signal 11; seen on an emulated Cortex-A72, where the tests hold it: tests/arm64).
    """
    model: Any = flatbuffer_utils.convert_bytearray_to_object(bytearray(data))
    zeros: dict[int, int] = {}  # units -> buffer
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            if max(code.builtinCode, code.deprecatedBuiltinCode) != schema.BuiltinOperator.FULLY_CONNECTED:
                continue
            given, weights, *bias = list(operator.inputs)
            if graph.tensors[given].type == schema.TensorType.INT8 and (not bias or bias[0] < 0):
                operator.inputs = [given, weights, len(graph.tensors)]
                graph.tensors.append(_zeros(model, zeros, graph.tensors[given], graph.tensors[weights]))
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _zeros(model: Any, zeros: dict[int, int], given: Any, weights: Any) -> Any:
    """An int32 bias of zeros, quantized as the specification wants it: scale of the input times that of the weights."""
    units = int(weights.shape[0])
    if units not in zeros:
        buffer = schema.BufferT()
        buffer.data = np.zeros(4 * units, np.uint8)
        zeros[units] = len(model.buffers)
        model.buffers.append(buffer)
    tensor, scales = schema.TensorT(), schema.QuantizationParametersT()
    scales.scale = [float(given.quantization.scale[0]) * float(scale) for scale in weights.quantization.scale]
    scales.zeroPoint = [0] * len(scales.scale)
    tensor.shape, tensor.type, tensor.quantization = [units], schema.TensorType.INT32, scales
    tensor.buffer, tensor.name = zeros[units], b"bias"
    return tensor


def facts_of(data: bytes) -> Facts:
    """The facts of a model (TFLite schema 3, `schema.fbs` of TensorFlow)."""
    model: Any = flatbuffer_utils.convert_bytearray_to_object(bytearray(data))
    operators, foreign = set(), set()
    for code in model.operatorCodes:
        # operators beyond 127 are only in the wider of the two fields
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        if builtin == schema.BuiltinOperator.CUSTOM:
            foreign.add((code.customCode or b"?").decode(errors="replace"))
        else:
            operators.add(f"{_NAMES[builtin]} v{code.version}")
    activations, weights = [0, 0], [0, 0]
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            held = model.buffers[tensor.buffer].data
            small = tensor.type == schema.TensorType.INT8
            if held is None or not len(held):
                activations[0] += small
                activations[1] += 1
            elif tensor.type in _NUMBERS and len(held) > 64:  # a few numbers are shapes and axes
                weights[0] += len(held) * small
                weights[1] += len(held)
    return Facts(
        operators=tuple(sorted(operators)),
        foreign=tuple(sorted(foreign)),
        activations=(activations[0], activations[1]),
        weights=(weights[0], weights[1]),
    )
