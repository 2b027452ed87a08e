"""Before a release: version and changelog agree, and both archives build and install in clean environments.

    make release-check

The archives are left in build/dist.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "build" / "dist"
NEEDED = (
    "contracts/features/channels.toml",
    "trainer/report/report.html",
    "contracts/py.typed",
    "edge/py.typed",
    "trainer/py.typed",
)
"""Files that are no Python, of which a wheel without them would not run."""


class ReleaseError(Exception):
    """Why this is no release yet."""


def version_of(root: Path) -> str:
    """What pyproject.toml says."""
    return str(tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"])


def require_changelog(root: Path) -> None:
    """The newest entry is of this version, has a date that is not in the future, and says something."""
    text, version = (root / "CHANGELOG.md").read_text(), version_of(root)
    entries = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    head, _, body = (entries[0] if entries else "").partition("\n")
    found = re.fullmatch(r"(\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)", head)
    if found is None or found[1] != version:
        raise ReleaseError(f"CHANGELOG.md begins with {head!r}; expected '{version} - YYYY-MM-DD'")
    if date.fromisoformat(found[2]) > date.today():
        raise ReleaseError(f"CHANGELOG.md: {found[2]} is in the future")
    if not re.search(r"^- ", body, flags=re.MULTILINE):
        raise ReleaseError(f"CHANGELOG.md: nothing is said of {version}")


def archives(root: Path, dist: Path) -> tuple[Path, Path]:
    """Build sdist and wheel of what is committed or staged to be; the wheel from the sdist, as an installer would."""
    shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir(parents=True)
    build = "import sys; from setuptools import build_meta as b; b.build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(dist)], cwd=root, check=True, stdout=subprocess.DEVNULL)
    (sdist,) = dist.glob("*.tar.gz")
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(dist)]
    subprocess.run([*wheel, str(sdist)], check=True)
    (made,) = dist.glob("*.whl")
    return sdist, made


def require_whole(sdist: Path, wheel: Path) -> None:
    """Both hold what the programs need and the tests are in neither."""
    with tarfile.open(sdist) as tar, zipfile.ZipFile(wheel) as zipped:
        names = {sdist: {name.partition("/")[2] for name in tar.getnames()}, wheel: set(zipped.namelist())}
    for archive, held in names.items():
        absent = [name for name in NEEDED if name not in held]
        if absent:
            raise ReleaseError(f"{archive.name} has no {', '.join(absent)}")
    if any(name.startswith("tests/") for name in names[wheel]):
        raise ReleaseError(f"{wheel.name} holds tests")


def require_installs(archive: Path, version: str, root: Path) -> None:
    """In a clean environment with a Pi's pinned packages: the agent says its version, and every verb loads."""
    with tempfile.TemporaryDirectory() as name:
        python = Path(name) / "venv" / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pins = ["-r", str(root / "firmware-config" / "requirements.txt")]
        subprocess.run([*pip, "--require-hashes", *pins], check=True)
        if archive.suffix == ".gz":  # what builds it, at the pinned version
            text = (root / "constraints.txt").read_text()
            builds = re.findall(r"^(?:setuptools|wheel)==[^ ]+", text, flags=re.MULTILINE)
            subprocess.run([*pip, *builds], check=True)
        subprocess.run([*pip, "--no-deps", "--no-build-isolation", str(archive)], check=True)
        for words in (["--version"], ["replay", "--help"], ["status", "--state", name]):
            done = subprocess.run(
                [str(python.with_name("edge")), *words], cwd=name, capture_output=True, text=True, check=False
            )
            if done.returncode or (words == ["--version"] and not done.stdout.startswith(f"edge {version}, ")):
                raise ReleaseError(f"{archive.name}: edge {' '.join(words)}: {done.stdout}{done.stderr}")


def main() -> int:
    """Returns the exit status."""
    try:
        require_changelog(ROOT)
        sdist, wheel = archives(ROOT, DIST)
        require_whole(sdist, wheel)
        for archive in (sdist, wheel):
            require_installs(archive, version_of(ROOT), ROOT)
            print(f"{archive.relative_to(ROOT)}: installs, and runs")
    except ReleaseError as error:
        print(f"release-check: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
