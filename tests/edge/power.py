"""Cut the power of a verb at every step that it takes on the file system, one after the other.

python -m tests.edge.power TEMPLATE TRUST VERB [BUNDLE]    (by tests/edge/test_power_cut.py)

TEMPLATE is a state folder. For each step a child process begins the verb on a copy of it and is killed as it comes to
that step; what it left is then looked at. One line of JSON per step on standard output.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contracts.features.schema import feature_schema
from edge.deploy.deployment import BUNDLES, read_deployment
from edge.deploy.site import Site
from edge.deploy.verbs import install, promote, rollback

# What Python tells of itself before it asks the kernel (docs.python.org, audit events table).
EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "fcntl.flock", "tempfile.mkstemp", "os.listdir"}


def killed_at(step: int) -> None:
    """From now on this process dies as it comes to its `step`th step, half of it done where a step has halves."""
    taken = 0

    def next_step(name: str) -> None:
        nonlocal taken
        taken += 1
        if taken == step:
            os.write(2, name.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS:
            next_step(f"{event} {arguments[0]}")

    def stepping(name: str) -> None:
        plain: Callable[..., Any] = getattr(os, name)

        def before_and_after(*arguments: Any, **options: Any) -> Any:
            next_step(f"before {name}")
            result = plain(*arguments, **options)
            next_step(f"after {name}")
            return result

        setattr(os, name, before_and_after)

    for name in ("fsync", "replace", "unlink"):
        stepping(name)
    sys.addaudithook(audit)


def main(template: Path, trust: Path, verb: str, bundle: Path | None) -> None:
    """All steps."""
    schema = feature_schema()

    def run(site: Site) -> None:
        if verb == "rollback":
            rollback(site)
        elif verb == "promote":
            promote(site)
        else:
            assert bundle is not None
            install(site, bundle, allow_unsigned=False, shadow=verb == "shadow")

    for step in range(1, 1000):
        with tempfile.TemporaryDirectory() as name:
            site = Site(folder=Path(name) / "state", schema=schema, trust_folder=trust)
            if template.exists():
                shutil.copytree(template, site.folder)
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                os.dup2(writer, 2)
                killed_at(step)
                run(site)
                os._exit(0)
            os.close(writer)
            _, status = os.waitpid(child, 0)
            with os.fdopen(reader) as said:
                at = said.read()
            after = read_deployment(site.folder)
            current = after.current and site.active(after.current).ref.name  # it verifies, opens, and tests itself
            shadow = after.shadow and site.active(after.shadow).ref.name
            killed = os.WIFSIGNALED(status)
            try:
                run(site)  # once more, to the end
                again = "done"
            except Exception as error:  # said, and judged by the test
                again = f"{type(error).__name__}: {error}"
            state = read_deployment(site.folder)
            left = {path.name for path in (site.folder / BUNDLES).iterdir()} - state.files
            said_of_step = {
                "at": at, "killed": killed, "current": current, "shadow": shadow, "again": again, "left": sorted(left)
            }  # fmt: skip
            print(json.dumps(said_of_step), flush=True)
            if not killed:
                return


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]) if len(sys.argv) > 4 else None)
