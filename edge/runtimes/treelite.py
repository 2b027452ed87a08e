"""Tree ensembles: the native library that Treelite's model was compiled to, or Treelite's own interpreter (GTIL).

The library is called through one function of our own, `predict_window(const float* window, float* result)`, which does
what the documented C interface (tl2cgen 1.0) wants of its caller: a missing value is the integer -1, scores are added.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import tempfile
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from contracts.errors import BundleError
from edge.runtimes.runtime import Runtime

# e_machine of an ELF header (System V ABI), by the name that `platform.machine()` gives.
ELF_MACHINES = {"x86_64": 62, "aarch64": 183}
_REDO = "build the bundle again"


class NativeRuntime(Runtime):
    """Compiled trees, by ctypes. Takes summaries (F,)."""

    kind = "treelite-native"

    def __init__(self, data: bytes, *, classes: int) -> None:
        self.name = "treelite-native"
        _check_machine(data)
        try:
            self._library = ctypes.CDLL(_in_memory(data))
            self._predict = self._library.predict_window
            self._features = int(self._library.get_num_feature())
            found = (ctypes.c_int32 * 1)()
            self._library.get_num_class(found)
        except (OSError, AttributeError) as error:
            raise BundleError(
                self.name, f"library refused ({error})", expected="a library made by tl2cgen", remedy=_REDO
            ) from None
        if found[0] != classes:
            raise BundleError(self.name, f"{found[0]} classes", expected=str(classes), remedy=_REDO)
        self._predict.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        self._predict.restype = None
        self._window = np.empty(self._features, np.float32)
        self._result = np.empty(classes, np.float32)
        self._at = self._window.ctypes.data, self._result.ctypes.data

    @classmethod
    def missing(cls) -> str | None:
        """Needs nothing but the loader."""
        return None

    @classmethod
    def load(cls, data: bytes, *, classes: int) -> Self:
        """Load the library."""
        return cls(data, classes=classes)

    def predict(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (K,) of one summary."""
        np.copyto(self._window, window)
        self._predict(*self._at)
        return self._result.copy()


class GtilRuntime(Runtime):
    """Treelite's checkpoint through its general interpreter: any machine that has treelite installed. Slower."""

    kind = "treelite-gtil"

    def __init__(self, data: bytes, *, classes: int) -> None:
        treelite: Any = importlib.import_module("treelite")
        self._gtil: Any = importlib.import_module("treelite.gtil")
        self.name = f"treelite-gtil {importlib.metadata.version('treelite')}"
        with tempfile.TemporaryDirectory(prefix="phasewatch-") as folder:
            path = Path(folder) / "model.tl"
            path.write_bytes(data)
            try:
                self._model = treelite.Model.deserialize(os.fspath(path))
            except treelite.TreeliteError as error:
                raise BundleError(
                    self.name, f"checkpoint refused ({error})", expected="a Treelite checkpoint", remedy=_REDO
                ) from None
        self._classes = classes

    @classmethod
    def missing(cls) -> str | None:
        """Needs treelite."""
        return None if importlib.util.find_spec("treelite") else "treelite is not installed"

    @classmethod
    def load(cls, data: bytes, *, classes: int) -> Self:
        """Load the checkpoint."""
        return cls(data, classes=classes)

    def predict(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (K,) of one summary."""
        result = self._gtil.predict(self._model, window[None], nthread=1)
        probabilities: NDArray[np.float32] = np.asarray(result, np.float32).reshape(self._classes)
        return probabilities


def _in_memory(data: bytes) -> str:
    """A path under which the loader finds these bytes: no file is left over when a process is killed.

    It stays open: the loader takes two libraries of one path for the same, and a closed number would be used again.
    """
    file = os.memfd_create("phasewatch-model")
    with os.fdopen(os.dup(file), "wb") as writing:
        writing.write(data)
    return f"/proc/self/fd/{file}"


def _check_machine(data: bytes) -> None:
    """Refuse a library that was built for another machine, before the loader sees it. Raises `BundleError`."""
    machine = int.from_bytes(data[18:20], "little") if data[:4] == b"\x7fELF" else -1
    if machine != ELF_MACHINES.get(platform.machine()):
        found = next((name for name, number in ELF_MACHINES.items() if number == machine), "no ELF library")
        raise BundleError(
            "treelite-native",
            f"a library for {found}",
            expected=platform.machine(),
            remedy="take the bundle that was built for this machine",
        )
