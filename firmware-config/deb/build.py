"""Make phasewatch-edge and phasewatch-dashboard, for Debian and Raspberry Pi OS, without a Pi and without its network.

    python firmware-config/deb/build.py --out build/deb        (`make deb` does it)

A package holds the program, the locked wheels for its release and architecture, units, a sample configuration, manual
pages, shell completion. Same inputs, same bytes: times are the release's own.
"""

from __future__ import annotations

import argparse
import calendar
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import texts
import wheels
from staging import COMPRESSIONS, Staging, prune
from targets import MACHINES, PYTHONS, Target

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "firmware-config"
HERE = FIRMWARE / "deb"
MAINTAINER = "Phasewatch developers <phasewatch@localhost.invalid>"
HOME = "usr/lib/phasewatch"
DOC = "usr/share/doc/phasewatch-edge"
LIBRARIES = "libc6, libstdc++6"
UNITS = "usr/lib/systemd/system"
USELESS = (
    "**/tests", "**/__pycache__", "**/*.pyi", "**/*.a", "**/*.h", "**/include", "numpy/f2py", "numpy/distutils",
    "ai_edge_litert/vendors", "ai_edge_litert/tools", "ai_edge_litert/libLiteRtWebGpuAccelerator.so",
    "*.dist-info/RECORD", "*.dist-info/INSTALLER", "*.dist-info/REQUESTED", "*.dist-info/direct_url.json", "**/sboms",
)  # fmt: skip
"""In wheels: tests, types, headers, what builds extensions, and what is for graphics cards and phones."""
GUIDES = ("pi.md", "deploy.md", "live.md", "mqtt.md", "events.md", "fleet.md")
EXAMPLES = (
    "systemd/io.conf", "systemd/phasewatch-guest@.service", "systemd/camera-1.env", "systemd/libvirt.xml", "guest",
    "mosquitto", "boot", "fleet", "edge.toml",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line. Ends with status 2 and one line where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "deb", help="folder (default: build/deb)")
    parser.add_argument("--suite", action="append", choices=PYTHONS, help="of these alone (default: all)")
    parser.add_argument("--architecture", action="append", choices=MACHINES, help="for these alone (default: all)")
    parser.add_argument("--bundle", type=Path, metavar="FILE", help="to come along, and to be installed with it")
    parser.add_argument("--trust", type=Path, metavar="FILE.pub", help="the key of who signed it")
    parser.add_argument("--revision", type=int, default=1, metavar="N", help="of a package with a bundle (default: 1)")
    parser.add_argument("--version", default=version(), help=argparse.SUPPRESS)
    parser.add_argument(
        "--compress", choices=COMPRESSIONS, default="xz", help="gzip: sooner made, and larger (default: xz)"
    )
    options = parser.parse_args(arguments)
    if (options.bundle is None) != (options.trust is None):
        parser.error("--bundle and --trust go together")
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="phasewatch-deb-") as inside:
            program = program_wheel(Path(inside))
            texts.manual_pages(Path(inside) / "man", options.version, epoch())
            for suite in options.suite or PYTHONS:
                for architecture in options.architecture or MACHINES:
                    target = Target(suite, architecture)
                    work = Path(inside) / f"{suite}-{architecture}"
                    for made in (
                        edge(target, program, work / "edge", options),
                        dashboard(target, work / "dashboard", options),
                    ):
                        print(f"{made}  {made.stat().st_size / 1e6:.1f} MB", flush=True)
                    shutil.rmtree(work)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines() or [f"ended with {error.returncode}"]
        sys.exit(f"deb: {Path(error.cmd[0]).name}: {said[-1]}")
    except FileNotFoundError as error:
        sys.exit(f"deb: no {error.filename}; expected it; apt-get install help2man dpkg")
    print(f"made in {time.monotonic() - began:.0f} s")


def edge(target: Target, program: Path, work: Path, options: argparse.Namespace) -> Path:
    """The agent."""
    tree = Staging(work, epoch())
    site = f"{HOME}/lib/python{target.python}/site-packages"
    lock = wheels.pinned(FIRMWARE / "requirements.txt", target.python, target.machine)
    tree.folder(site)
    wheels.unpack(lock, target.python, target.machine, work / site)
    _unzip(program, work / site)
    prune(work / site, USELESS)
    # an environment of its own on the system's Python: neither sees the other's packages
    tree.text(
        f"{HOME}/pyvenv.cfg", f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {target.python}\n"
    )
    tree.link(f"{HOME}/bin/python3", "../../../bin/python3")
    tree.copy(HERE / "edge" / "launcher", "usr/bin/edge", mode=0o755)

    for name in ("phasewatch-edge.service", "phasewatch-edge-again.timer", "phasewatch-exporter@.service"):
        tree.copy(FIRMWARE / "systemd" / name, f"{UNITS}/{name}")
    for kind in ("service", "timer", "path"):
        tree.copy(FIRMWARE / "systemd" / f"phasewatch-update.{kind}", f"{UNITS}/phasewatch-update.{kind}")
    tree.copy(FIRMWARE / "systemd" / "phasewatch-edge.sysusers", "usr/lib/sysusers.d/phasewatch-edge.conf")
    tree.copy(FIRMWARE / "systemd" / "phasewatch-edge.tmpfiles", "usr/lib/tmpfiles.d/phasewatch-edge.conf")
    tree.conffile(without_guests((FIRMWARE / "edge.toml").read_text()), "etc/phasewatch/edge.toml")
    tree.conffile((FIRMWARE / "pmacctd.conf").read_text(), "etc/phasewatch/pmacctd.conf")
    tree.conffile((FIRMWARE / "systemd" / "update.env").read_text(), "etc/phasewatch/update.env")
    tree.folder("etc/phasewatch/trust")
    tree.folder("etc/phasewatch/credentials")

    for page in sorted((program.parent / "man").iterdir()):
        tree.copy(page, f"usr/share/man/man1/{page.name}")
    tree.text("usr/share/bash-completion/completions/edge", texts.completion("bash"))
    tree.text("usr/share/zsh/vendor-completions/_edge", texts.completion("zsh"))
    for name in GUIDES:
        tree.copy(ROOT / "docs" / name, f"{DOC}/{name}")
    for name in EXAMPLES:
        for path in sorted((FIRMWARE / name).rglob("*")) if (FIRMWARE / name).is_dir() else [FIRMWARE / name]:
            tree.copy(path, f"{DOC}/examples/{path.relative_to(FIRMWARE)}")
    tree.text(f"{DOC}/copyright", texts.copyright_of(work / site))
    full = options.version
    if options.bundle is not None:
        # a key that is already trusted there is another file, and stays
        tree.copy(options.bundle, f"usr/share/phasewatch/bundles/{options.bundle.name}")
        tree.conffile(options.trust.read_text(), f"etc/phasewatch/trust/{options.trust.name}")
        full += f"+site{options.revision}"
    full += target.suffix
    _changelog(tree, "phasewatch-edge", full)
    tree.copy(HERE / "edge" / "lintian-overrides", "usr/share/lintian/overrides/phasewatch-edge")
    words = {"PYTHON": target.python, "RELEASE": str(target.release)}
    for name in ("preinst", "postinst", "prerm", "postrm"):
        tree.script(name, HERE / "edge" / name, words)
    return tree.pack(
        {
            "Package": "phasewatch-edge",
            "Version": full,
            "Architecture": target.architecture,
            "Maintainer": MAINTAINER,
            "Depends": f"{LIBRARIES}, {_between('python3', target.python, target.next_python)}, systemd, procps",
            "Recommends": "pmacct",
            "Suggests": "mosquitto, chrony, qemu-system-arm, phasewatch-dashboard",
            "Section": "admin",
            "Priority": "optional",
            "Description": "watches QEMU guests for the phases of an infection\n"
            " An agent for the machine that runs untrusted guests. Every five seconds it\n"
            " decides, from what the host can see of a guest (its process, QEMU's monitor,\n"
            " its network flows), in which phase of an infection the guest is, and says\n"
            " so over MQTT. It runs bundles that `trainer build` made and signed.",
        },
        options.out,
        options.compress,
    )


def dashboard(target: Target, work: Path, options: argparse.Namespace) -> Path:
    """The pages: what `edge dashboard` needs besides the agent's packages."""
    tree = Staging(work, epoch())
    site = f"{HOME}/lib/python{target.python}/site-packages"
    there = wheels.pinned(FIRMWARE / "requirements.txt", target.python, target.machine)
    wanted = wheels.pinned(FIRMWARE / "requirements-dashboard.txt", target.python, target.machine)
    tree.folder(site)
    more = {name: line for name, line in wanted.items() if name not in there}
    wheels.unpack(more, target.python, target.machine, work / site)
    prune(work / site, USELESS)
    tree.copy(FIRMWARE / "systemd" / "phasewatch-dashboard.service", f"{UNITS}/phasewatch-dashboard.service")
    tree.copy(FIRMWARE / "systemd" / "phasewatch-dashboard.sysusers", "usr/lib/sysusers.d/phasewatch-dashboard.conf")
    tree.conffile((FIRMWARE / "systemd" / "dashboard.env").read_text(), "etc/phasewatch/dashboard.env")
    doc = "usr/share/doc/phasewatch-dashboard"
    tree.copy(ROOT / "docs" / "dashboard.md", f"{doc}/dashboard.md")
    tree.text(f"{doc}/copyright", texts.copyright_of(work / site))
    tree.copy(HERE / "dashboard" / "lintian-overrides", "usr/share/lintian/overrides/phasewatch-dashboard")
    full = options.version + target.suffix
    _changelog(tree, "phasewatch-dashboard", full)
    for name in ("postinst", "prerm", "postrm"):
        tree.script(name, HERE / "dashboard" / name, {})
    return tree.pack(
        {
            "Package": "phasewatch-dashboard",
            "Version": full,
            "Architecture": target.architecture,
            "Maintainer": MAINTAINER,
            # the program is the agent's; without a guest and a bundle the agent waits, and costs next to nothing
            "Depends": f"{LIBRARIES}, {_between('phasewatch-edge', options.version, f'{options.version}.1')}",
            "Section": "admin",
            "Priority": "optional",
            "Description": "pages that show what Phasewatch agents say\n"
            " Subscribes to what agents send over MQTT, keeps it for a week, and shows it:\n"
            " every guest's phase, timelines, alarms, scorecards, costs.",
        },
        options.out,
        options.compress,
    )


def version() -> str:
    """Of the project."""
    found: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return found


def epoch() -> int:
    """Midnight (UTC) of the day of the latest release in the changelog, in Unix seconds."""
    dated = re.search(r"^## \S+ - (\d{4}-\d{2}-\d{2})$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    if dated is None:
        sys.exit(f"deb: {ROOT / 'CHANGELOG.md'}: no dated release; expected ## VERSION - YYYY-MM-DD; add one")
    return calendar.timegm(time.strptime(dated[1], "%Y-%m-%d"))


def without_guests(sample: str) -> str:
    """The sample, its guest as a comment: there is none yet when the package is installed."""
    before, header, guest = sample.partition("[[guest]]")
    lines = (header + guest).splitlines()
    return before + "".join(f"{line if line.startswith('#') or not line else f'# {line}'}\n" for line in lines)


def program_wheel(folder: Path) -> Path:
    """The project's own wheel, from a copy of its sources: nothing is left in the tree. Raises `CalledProcessError`."""
    source = folder / "source"
    for name in ("contracts", "edge"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run(
        [*pip, "--no-build-isolation", f"--wheel-dir={folder}", str(source)],
        check=True, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    (made,) = folder.glob("phasewatch-*.whl")
    return made


def _between(package: str, first: str, past: str) -> str:
    return f"{package} (>= {first}~), {package} (<< {past}~)"


def _unzip(wheel: Path, into: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(into)


def _changelog(tree: Staging, package: str, full: str) -> None:
    when = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(epoch()))
    said = f"{package} ({full}) stable; urgency=medium\n\n  * See the project's own changelog.\n"
    tree.zipped(f"{said}\n -- {MAINTAINER}  {when}\n".encode(), f"usr/share/doc/{package}/changelog.Debian.gz")
    tree.zipped((ROOT / "CHANGELOG.md").read_bytes(), f"usr/share/doc/{package}/changelog.gz")


if __name__ == "__main__":
    main()
