"""Saves a checkpoint over another in process after process, each killed one step later: for test_killed_save alone.

`python -m tests.trainer.dying ROOT` leaves ROOT/00, ROOT/01, …, each with what a kill at that step leaves of
`checkpoint`; the last is of a process that came to its end.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.architectures.architecture import Cost, Model
from trainer.curves import Curves
from trainer.fits.checkpoint import Stamp, save_checkpoint

CURVES = Curves(unit="epoch", loss=[1.0], validation_loss=[1.0], validation_f1=[0.5], best=0)
_CHANGES = frozenset({"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.chmod"})


class Written(Model):
    """A model that is nothing but a file."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return x

    def save(self, folder: Path) -> None:
        (folder / "model.bin").write_bytes(self.data)

    def cost(self) -> Cost:
        return Cost(bytes=len(self.data), operations=0)


def stamp(seed: int) -> Stamp:
    """One that differs from others by its seed."""
    nothing = "0" * 64
    return Stamp(
        architecture="gbt",
        version=1,
        schema_hash=nothing,
        dataset_digest=nothing,
        split_digest=nothing,
        channels=(),
        classes=(),
        seed=seed,
        quick=True,
        settings={},
        versions={},
        code=nothing,
    )


def save(folder: Path, seed: int) -> None:
    save_checkpoint(Written(b"weights" * (seed + 1)), CURVES, stamp(seed), folder)


def killed_at(step: int) -> None:
    """From now on, this process is killed before it changes the disk once more than `step` times."""
    steps = itertools.count()

    def look(event: str, arguments: tuple[object, ...]) -> None:
        flags = arguments[2] if event == "open" and len(arguments) == 3 else 0
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        if (event in _CHANGES or writes) and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


def main(root: Path) -> None:
    for step in itertools.count():
        folder = root / f"{step:02}" / "checkpoint"
        save(folder, 0)
        process = os.fork()
        if process == 0:
            killed_at(step)
            save(folder, 1)
            os._exit(0)
        _, status = os.waitpid(process, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
