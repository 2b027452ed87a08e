"""Commands as a shell starts them, with the streams, the environment and the bytes that a test wants."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Words = Sequence[str | bytes | Path]

ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "C": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}
"""Terminals that are not UTF-8, and what each encodes."""
HELPS = """
import argparse, importlib, sys
module = importlib.import_module(sys.argv[1])

def commands(parser, words):
    yield words
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from commands(inner, [*words, name])

for words in list(commands(module.command_line(), [])):
    status = module.main([*words, "--help"])
    print(f"help of {' '.join(words)}: {status}", file=sys.stderr)
"""
"""Asks every command of a program for its help, as its own parsers name them."""

STEPS = """
import importlib, sys
main = importlib.import_module(sys.argv[1]).main
words = []
for word in sys.argv[2:]:
    if word != "/end/":
        words.append(word)
        continue
    status = main(words)
    for stream in (sys.stdout, sys.stderr):
        print(f"/ended {status}/", file=stream, flush=True)
    words = []
"""
"""Commands of one program, one after the other in one process: what is imported is imported once."""


def environment(**changed: str) -> dict[str, str]:
    """This process's, in UTF-8 but for what is changed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONIO"))}
    return {**kept, "LC_ALL": "C.UTF-8", **changed}


def command(program: str, *arguments: str | bytes | Path) -> Words:
    """A command line of ours: `edge`, `trainer`."""
    return [sys.executable, "-m", f"{program}.cli", *arguments]


def ended(words: Words, *, encoding: str = "utf-8", env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """The status of a command, and what it said on standard output and error, read in the terminal's encoding."""
    whole = environment(**ENCODINGS.get(encoding, {}), **(env or {}))
    done = subprocess.run(words, check=False, capture_output=True, env=whole)
    as_read = "ascii" if encoding == "C" else encoding
    return done.returncode, done.stdout.decode(as_read), done.stderr.decode(as_read)


def ended_in_turn(program: str, steps: Sequence[Words], encoding: str) -> list[tuple[int, str, str]]:
    """As `ended` has it of each of several commands, which one process runs."""
    words = [word for step in steps for word in (*step, "/end/")]
    status, *said = ended([sys.executable, "-c", STEPS, f"{program}.cli", *words], encoding=encoding)
    parts = [re.split(r"^/ended (\d+)/\n", stream, flags=re.MULTILINE) for stream in said]
    assert (status, *map(len, parts)) == (0, *[2 * len(steps) + 1] * 2), said
    out, err = parts
    return [(int(out[i + 1]), out[i], err[i]) for i in range(0, 2 * len(steps), 2)]


def without_reader(words: Words, stream: str) -> tuple[int, str]:
    """The status of a command whose `stdout` or `stderr` nobody reads, and what it said on the other."""
    there, here = os.pipe()
    os.close(there)
    other = "stderr" if stream == "stdout" else "stdout"
    try:
        streams: dict[str, Any] = {stream: here, other: subprocess.PIPE}
        done = subprocess.run(words, check=False, env=environment(), **streams)
    finally:
        os.close(here)
    return done.returncode, (done.stderr if stream == "stdout" else done.stdout).decode()


def in_shell(redirection: str, words: Words) -> tuple[int, str, str]:
    """A command with a shell's redirection, such as `>&-`."""
    return ended(["sh", "-c", f'exec "$@" {redirection}', "sh", *words])
