"""What the README tells people to type exists."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from contracts.features.schema import feature_schema

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = sorted(p.relative_to(ROOT) for p in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")) if p.name != "CHANGELOG.md")


def shell_lines() -> list[str]:
    """The commands in the README's shell blocks, continued lines joined."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    return [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def test_every_make_target_exists() -> None:
    commands = [line.partition("#")[0] for line in shell_lines()]
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)\b", "\n".join([*commands, *re.findall("`(.*?)`", README)])))
    assert {"demo", "test", "setup"} <= named <= targets


@pytest.mark.parametrize("program", ["trainer", "edge"])
def test_every_option_exists(program: str) -> None:
    lines = [line for line in shell_lines() if line.startswith(f"{program} ")]
    assert lines
    options_exist(lines)


def options_exist(lines: list[str]) -> None:
    """Every option of some command lines is in the command's help."""
    for line in lines:
        words = line.split()
        text = help_of(*words[: 3 if words[1] in ("lab", "outbox") else 2])
        for option in re.findall(r"--[a-z-]+", line):
            assert option in text, line


@functools.cache
def help_of(program: str, *verb: str) -> str:
    """What a command says of itself."""
    command = [sys.executable, "-m", f"{program}.cli", *verb, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, command
    return done.stdout


def test_the_readme_takes_five_minutes() -> None:
    assert len(README.splitlines()) <= 90


def test_every_path_in_the_architecture_exists() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    tree = page.partition("## The tree")[2].partition("```text")[2].partition("```")[0]
    for line in tree.strip().splitlines():
        if not line.startswith(" "):  # a line goes on
            assert (ROOT / line.split()[0]).exists(), line
    for title, floor in (("## From a row", "edge"), ("## From an episode", "trainer")):
        way = page.partition(title)[2].partition("```text")[2].partition("```")[0]
        for line in way.strip().splitlines():
            assert (ROOT / floor / line.split()[0]).exists(), line


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_and_path_on_a_page_leads_somewhere(page: Path) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target
    for name in re.findall(r"`((?:tests|docs|contracts|edge|trainer|firmware-config)/[\w./-]+)`", text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("program", ["trainer", "edge"])
def test_version_names_the_release_and_the_schema_that_is_spoken(program: str) -> None:
    command = [sys.executable, "-m", f"{program}.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{program} {version('phasewatch')}, feature schema {feature_schema().hash}\n"
