"""TFLite models through LiteRT, or through tflite-runtime where LiteRT is not installed."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from contracts.errors import BundleError, ConfigError
from edge.runtimes.runtime import Runtime

# LiteRT first: the same interpreter, still kept, and faster on int8.
INTERPRETERS: tuple[tuple[str, str], ...] = (
    ("ai-edge-litert", "ai_edge_litert.interpreter"),
    ("tflite-runtime", "tflite_runtime.interpreter"),
)


def installed_interpreters() -> tuple[str, ...]:
    """The interpreter packages on this machine, in order of preference."""
    return tuple(name for name, module in INTERPRETERS if importlib.util.find_spec(module.partition(".")[0]))


class TfliteRuntime(Runtime):
    """One TFLite model with one float32 input (1, C, T) or (1, F) and one float32 output (1, K), on one thread."""

    kind = "tflite"

    def __init__(self, data: bytes, *, classes: int, interpreter: str) -> None:
        module = importlib.import_module(dict(INTERPRETERS)[interpreter])
        self.name = f"{interpreter} {importlib.metadata.version(interpreter)}"
        try:
            self._interpreter: Any = module.Interpreter(model_content=data, num_threads=1)
            self._interpreter.allocate_tensors()
            (given,), (result,) = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        except (ValueError, RuntimeError) as error:
            raise BundleError(
                self.name, f"model refused ({error})", expected="a TFLite model", remedy="build the bundle again"
            ) from None
        self._input, self._output = given["index"], result["index"]
        if tuple(result["shape"]) != (1, classes):
            raise BundleError(
                self.name,
                f"output of shape {tuple(result['shape'])}",
                expected=f"(1, {classes})",
                remedy="build the bundle again",
            )

    @classmethod
    def missing(cls) -> str | None:
        """Needs one of the two interpreters."""
        return None if installed_interpreters() else "neither ai-edge-litert nor tflite-runtime is installed"

    @classmethod
    def load(cls, data: bytes, *, classes: int) -> Self:
        """Open the model with the preferred interpreter."""
        return cls(data, classes=classes, interpreter=installed_interpreters()[0])

    def predict(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (K,) of one window. Raises `ConfigError` on a window of another shape."""
        try:
            self._interpreter.set_tensor(self._input, window[None])
        except ValueError as error:
            raise ConfigError(
                self.name, f"window refused ({error})", expected="the model's shape", remedy="use the bundle's schema"
            ) from None
        self._interpreter.invoke()
        probabilities: NDArray[np.float32] = self._interpreter.get_tensor(self._output)[0]
        return probabilities
