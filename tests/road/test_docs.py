"""Every example in docs/ runs, and prints what the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.recordings import CORPUS, few
from tests.road.test_readme import options_exist

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder like a fresh clone's, with the recordings."""
    shutil.copytree(CORPUS, tmp_path / "tests" / CORPUS.name)
    for folder in (tmp_path / "tests").rglob("*"):
        folder.chmod(0o755 if folder.is_dir() else 0o644)
    return tmp_path


def in_shell(command: str, place: Path) -> str:
    """What a user would see on standard output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path}
    done = subprocess.run(["sh", "-c", command], cwd=place, env=env, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def _undigested(text: str) -> str:
    """Digests of windows are another on another processor, whose arithmetic rounds otherwise, and with other code."""
    return re.sub(r"[0-9a-f]{12,}", "<digest>", text)


def test_examples_print_what_the_page_says(place: Path) -> None:
    text = (DOCS / "corpus.md").read_text()
    examples = [
        part.partition("\n")
        for block in re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    ]
    assert {command.split()[1] for command, _, _ in examples if command.startswith("trainer")} == {
        *("validate", "explain", "extract", "split", "describe"),
    }
    for command, _, expected in examples:
        assert _undigested(in_shell(command, place)) == _undigested(expected.strip()), command


def test_code_on_the_page_runs(tmp_path: Path) -> None:
    place = few(tmp_path / "store").parent
    in_shell("trainer extract store --out build/dataset", place)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "datasets.md").read_text(), flags=re.DOTALL)
    assert len(blocks) == 3
    (place / "page.py").write_text("\n".join(blocks))
    assert in_shell("python page.py && echo done", place).endswith("done")
    (shell,) = re.findall(r"```sh\n(.*?)```", (DOCS / "datasets.md").read_text(), flags=re.DOTALL)
    said = in_shell(f"set -e; XDG_CONFIG_HOME=$PWD/config; export XDG_CONFIG_HOME\n{shell}", place)
    assert "walking" in said
    assert "tuned by: person-" in said
    assert "macro F1 on held-out person-" in said
    names = {path.name[:4] for path in (place / "build" / "mine-models" / "bundles").iterdir()}
    assert {"gbt-"} <= names <= {"gbt-", "mlp-"}  # a forest always passes: the fitted one is exact


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_pages_name_options_and_pages_that_exist(page: str) -> None:
    text = (DOCS / page).read_text()
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("$ ", "").splitlines()]
    options_exist([line.partition("#")[0] for line in lines if line.startswith(("trainer ", "edge "))])
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (DOCS / link).exists(), link
