"""The converter of `trainer.compile.convert`, of which one form takes the process down: for test_compile alone."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    from trainer.workers.tensorflow_ready import prepare

    prepare()
    from trainer.compile import nets
    from trainer.compile.convert import main

    def dies(*_arguments: object) -> bytes:
        os.kill(os.getpid(), signal.SIGSEGV)
        return b""

    def fails(*_arguments: object) -> bytes:
        raise RuntimeError("no kernel\nfor that")

    nets.FORMS = (
        nets.Form("float32", small=False, convert=nets._float32),
        nets.Form("dies", small=True, convert=dies),
        nets.Form("fails", small=True, convert=fails),
    )
    main(Path(sys.argv[-1]))
