"""What both command lines share: a parser whose errors are one line, and exit statuses 0, 1 and 2."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import msgspec

from contracts.errors import PhasewatchError
from contracts.shell.streams import guard
from contracts.text import printable


class _Help(argparse.RawDescriptionHelpFormatter):
    """Texts as they stand: a `%` in a default path is a `%`."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help and action.help.replace("%", "%%")


class Parser(argparse.ArgumentParser):
    """Help keeps its line breaks, ends with an example, and wrong use is one line with exit status 2."""

    def __init__(self, *, example: str = "", **options: Any) -> None:
        super().__init__(
            formatter_class=_Help,
            epilog=f"example:\n  {example}" if example else None,
            allow_abbrev=False,
            **options,
        )

    def error(self, message: str) -> NoReturn:
        """One line."""
        self.exit(2, f"{self.prog}: {printable(message)}; see {self.prog} --help\n")


class Version(argparse.Action):
    """`--version`: of the program, and what it speaks."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and the feature schema's hash, and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        """Looks them up when they are asked for."""
        import importlib.metadata

        from contracts.features.schema import feature_schema

        version, schema = importlib.metadata.version("phasewatch"), feature_schema().hash
        print(f"{parser.prog} {version}, feature schema {schema}")
        parser.exit()


def run(program: str, main: Callable[[Sequence[str]], int], arguments: Sequence[str] | None) -> int:
    """Run a command line: refusals become one line on stderr and their exit status, never a traceback.

    A reader of ours that goes away changes nothing (`streams`): the work is done, and its status returned.
    """
    guard()
    # `systemctl stop` and a closed terminal end us as Ctrl-C does: in order
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status = _status(main, sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return status
    except PhasewatchError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        where = "the system" if error.filename is None else printable(str(error.filename))
        print(f"{program}: {where}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{program}: stopped", file=sys.stderr)
        return 130


def _status(main: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    try:
        return main(arguments)
    except SystemExit as end:  # argparse has shown its help, or said what is wrong
        return int(end.code or 0)


def print_json(document: object) -> None:
    """One document, as JSON, on standard output."""
    sys.stdout.flush()
    sys.stdout.buffer.write(msgspec.json.encode(document) + b"\n")
