"""docs/live.md, word by word: its commands, in order, lead to a first event and to the same windows again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from contracts.features.schema import FeatureSchema
from tests.bundles import make_bundle
from tests.live.lab import ROOT, Lab, image

pytestmark = [pytest.mark.slow, pytest.mark.system]
PAGE = ROOT / "docs" / "live.md"


def test_the_page_leads_from_a_running_qemu_to_an_event_and_a_replay(
    tmp_path: Path, schema: FeatureSchema, signing_key: Path
) -> None:
    place = tmp_path / "clone"
    place.mkdir()
    (place / "build").mkdir()
    (place / "build" / "guest").symlink_to(image())
    (place / "firmware-config").symlink_to(ROOT / "firmware-config")
    script = "\n".join(["set -e", *re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)])
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin",
        "BUNDLE": str(make_bundle(tmp_path, schema, signing_key, 0)),
        "TRUST": str(signing_key.parent),
    }
    with Lab(tmp_path) as lab:
        shell = subprocess.Popen(
            [*lab.inside, "sh", "-c", script], cwd=place, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, start_new_session=True,
        )  # fmt: skip
        try:
            said = _read(shell)
        finally:
            os.killpg(shell.pid, signal.SIGKILL)  # what the page starts in the background is its reader's to end
    assert "FAULT" not in said, said
    assert re.search(r"^ok +camera-1 proc", said, re.MULTILINE), said
    assert "/window" in said, said
    assert "watching camera-1" in said, said
    lines = [line.partition(" ") for line in (place / "run" / "heard.txt").read_text().splitlines()]
    windows = Counter(payload for topic, _, payload in lines if topic.endswith("/window"))
    assert windows
    assert set(windows.values()) == {2}, [json.loads(one)["data"]["end_wall_ns"] for one in windows]


def _read(shell: subprocess.Popen[str]) -> str:
    """Until the script ends; its background programs hold the pipe open longer."""
    assert shell.stdout is not None
    os.set_blocking(shell.stdout.fileno(), False)
    said = ""
    for _ in range(1200):
        said += os.read(shell.stdout.fileno(), 1 << 16).decode() if _readable(shell) else ""
        if shell.poll() is not None and not _readable(shell, 0):
            break
    assert shell.returncode == 0, said
    return said


def _readable(shell: subprocess.Popen[str], seconds: float = 0.1) -> bool:
    import select

    assert shell.stdout is not None
    return bool(select.select([shell.stdout], [], [], seconds)[0])
