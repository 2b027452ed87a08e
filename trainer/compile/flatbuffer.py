"""What a TFLite model really is, read from its flatbuffer: operators and their versions, and which tensors are int8."""

from __future__ import annotations

from typing import Any

from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from trainer.compile.candidate import Facts

_NAMES = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
_NUMBERS = (
    schema.TensorType.FLOAT32,
    schema.TensorType.FLOAT16,
    schema.TensorType.INT32,
    schema.TensorType.INT8,
)


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
