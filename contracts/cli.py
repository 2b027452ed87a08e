"""What both command lines share: a parser whose errors are one line, and exit statuses 0, 1 and 2."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from contracts.errors import PhasewatchError


class Parser(argparse.ArgumentParser):
    """Help keeps its line breaks, ends with an example, and wrong use is one line with exit status 2."""

    def __init__(self, *, example: str = "", **options: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=f"example:\n  {example}" if example else None,
            allow_abbrev=False,
            **options,
        )

    def error(self, message: str) -> NoReturn:
        """One line."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def run(program: str, main: Callable[[Sequence[str]], int], arguments: Sequence[str] | None) -> int:
    """Run a command line: refusals become one line on stderr and their exit status, never a traceback."""
    # `systemctl stop` and a closed terminal end us as Ctrl-C does: in order
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status = main(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return status
    except PhasewatchError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever read us has gone; nothing more to say
        return 0
    except OSError as error:
        print(f"{program}: {error.filename or 'the system'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{program}: stopped", file=sys.stderr)
        return 130
