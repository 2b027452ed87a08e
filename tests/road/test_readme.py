"""What the README tells people to type exists."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def shell_lines() -> list[str]:
    """The commands in the README's shell blocks, continued lines joined."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    return [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", "\n".join([*shell_lines(), *re.findall("`(.*?)`", README)])))
    assert {"demo", "test", "setup"} <= named <= targets


@pytest.mark.parametrize("program", ["trainer", "edge"])
def test_every_option_exists(program: str) -> None:
    lines = [line for line in shell_lines() if line.startswith(f"{program} ")]
    assert lines
    options_exist(lines)


def options_exist(lines: list[str]) -> None:
    """Every option of some command lines is in the command's help."""
    for line in lines:
        program, verb = line.split()[:2]
        text = help_of(program, verb)
        for option in re.findall(r"--[a-z-]+", line):
            assert option in text, line


@functools.cache
def help_of(program: str, verb: str) -> str:
    """What a command says of itself."""
    command = [sys.executable, "-m", f"{program}.cli", verb, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, command
    return done.stdout


def test_every_path_in_the_tree_exists() -> None:
    tree = README.partition("## The tree")[2].partition("```text")[2].partition("```")[0]
    for line in tree.strip().splitlines():
        for name in line.split("  ")[0].split():
            assert (ROOT / name).exists(), name
    for name in re.findall(r"`((?:tests|docs|firmware-config)/[\w./-]+)`", README):
        assert (ROOT / name).exists(), name
