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
from tests.release import ReleaseError, require_changelog

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


def test_versions_agree() -> None:
    """`make release-check` does the rest: it builds and installs."""
    require_changelog(ROOT)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("## Unreleased\n- x\n", "begins with 'Unreleased'; expected '0.2.0 - YYYY-MM-DD'"),
        ("## 0.1.0 - 2026-01-01\n- x\n", "expected '0.2.0 - "),
        ("## 0.2.0 - 2999-01-01\n- x\n", "2999-01-01 is in the future"),
        ("## 0.2.0 - 2026-01-01\n", "nothing is said of 0.2.0"),
    ],
)
def test_a_release_without_its_entry_in_the_changelog_is_refused(tmp_path: Path, head: str, words: str) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "0.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{head}")
    with pytest.raises(ReleaseError, match=re.escape(words)):
        require_changelog(tmp_path)


@pytest.mark.parametrize("program", ["trainer", "edge"])
def test_version_names_the_release_and_the_schema_that_is_spoken(program: str) -> None:
    command = [sys.executable, "-m", f"{program}.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{program} {version('phasewatch')}, feature schema {feature_schema().hash}\n"
