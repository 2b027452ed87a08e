"""The converter of `trainer.compile.convert`, of which one form takes the process down: for test_compile alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from trainer.compile import convert

REAL = convert.main


def main(task: Path) -> None:
    """In the converter's process."""
    from trainer.workers.tensorflow_ready import prepare

    prepare()
    from trainer.compile import nets

    nets.FORMS = (
        nets.Form("float32", small=False, convert=nets._float32),
        nets.Form("dies", small=True, convert=dies),
        nets.Form("fails", small=True, convert=fails),
    )
    REAL(task)


def dies(*_arguments: object) -> bytes:
    os.kill(os.getpid(), signal.SIGSEGV)
    return b""


def fails(*_arguments: object) -> bytes:
    raise RuntimeError("no kernel\nfor that")
