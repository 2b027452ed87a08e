"""What is made from the program itself: manual pages, shell completion, and what its licences say."""

from __future__ import annotations

import argparse
import email
import gzip
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import shtab

from edge.cli import command_line

PLACES = {"STATE_DIRECTORY": "/var/lib/phasewatch", "CONFIGURATION_DIRECTORY": "/etc/phasewatch"}
"""As the installed program has them, for the defaults that help shows."""


def verbs() -> dict[str, str]:
    """What `edge` does: each verb and its line in the list."""
    (subparsers,) = (one for one in command_line()._actions if isinstance(one, argparse._SubParsersAction))
    return {one.dest: one.help or "" for one in subparsers._choices_actions}


def completion(shell: str) -> str:
    """For bash or zsh."""
    os.environ.update(PLACES)
    return shtab.complete(command_line(), shell)


def manual_pages(folder: Path, version: str, epoch: int) -> None:
    """Write edge.1.gz and a page for each verb, by help2man, which reads what `--help` says. Raises `OSError`,
    `CalledProcessError`."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as inside:
        for verb, about in {"": "watch QEMU guests for the phases of an infection", **verbs()}.items():
            name = f"edge-{verb}" if verb else "edge"
            speaker = Path(inside) / name
            speaker.write_text(f'#!/bin/sh\n{sys.executable} -m edge.cli {verb} "$@" | sed "{_HEADINGS}"\n')
            speaker.chmod(0o755)
            also = Path(inside) / "also"
            also.write_text(f"[see also]\n{_also(verb)}\n")
            said = (f"--name={about}", "--source=Phasewatch", "--manual=Phasewatch", f"--version-string={version}")
            page = subprocess.run(
                ["help2man", "--no-info", "--locale=C.UTF-8", "--section=1", *said, f"--include={also}", str(speaker)],
                check=True,
                text=True,
                capture_output=True,
                env={**os.environ, **PLACES, "SOURCE_DATE_EPOCH": str(epoch), "COLUMNS": "1000", "LC_ALL": "C.UTF-8"},
            ).stdout
            (folder / f"{name}.1.gz").write_bytes(gzip.compress(page.encode(), 9, mtime=0))


_HEADINGS = "s/^usage:/Usage:/; s/^options:/Options:/; s/^positional arguments:/Arguments:/; s/^example:/Examples:/"
"""What help2man takes for headings."""


def _also(verb: str) -> str:
    pages = [".BR edge (1)"] if verb else [f".BR edge-{one} (1)" for one in verbs()]
    return ",\n".join(pages) + "\n.PP\nGuides are in /usr/share/doc/phasewatch-edge."


def copyright_of(packages: Path) -> str:
    """Debian's copyright file (machine-readable, format 1.0): ours, and each library that comes along, as its own
    metadata says. packages: the folder with their `.dist-info`."""
    parts = [
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: phasewatch\n",
        f"Files: *\nCopyright: the Phasewatch developers\nLicense: Apache-2.0\n{_indented(_NOTICE)}\n",
    ]
    for info in sorted(packages.glob("*.dist-info")):
        said = email.message_from_string((info / "METADATA").read_text(errors="replace"))
        if said["Name"] == "phasewatch":
            continue
        name = f"{said['Name']} {said['Version']}"
        kind = said["License-Expression"] or _classified(said.get_all("Classifier") or []) or said["License"] or "other"
        texts = sorted(
            path for path in info.rglob("*") if re.match(r"(LICEN[CS]E|COPYING|NOTICE)", path.name) and path.is_file()
        )
        whole = "\n".join(_without_common(path.read_text(errors="replace")) for path in texts)
        holder = said["Author"] or said["Author-email"] or "its authors"
        short = re.sub(r"[^A-Za-z0-9.+-]", "-", f"{said['Name']}-{kind.splitlines()[0][:60]}")
        parts.append(
            f"Files: usr/lib/phasewatch/lib/*\nComment: {name}\nCopyright: {holder}\n"
            f"License: {short}\n{_indented(whole or f'As {name} says: {kind}')}\n"
        )
    return "\n".join(parts)


_NOTICE = """On Debian systems the whole text of the Apache License 2.0 is in /usr/share/common-licenses/Apache-2.0."""


_COMMON = {
    "Apache-2.0": r"[ \t]*Apache License\s+Version 2\.0, January 2004.*?(?:END OF TERMS AND CONDITIONS|\Z)",
    "GPL-3": r"[ \t]*GNU GENERAL PUBLIC LICENSE\s+Version 3, 29 June 2007.*?(?:END OF TERMS AND CONDITIONS|\Z)",
    "LGPL-2.1": r"[ \t]*GNU LESSER GENERAL PUBLIC LICENSE\s+Version 2\.1.*?(?:END OF TERMS AND CONDITIONS|\Z)",
}


def _without_common(text: str) -> str:
    """Texts that every Debian has are named, and not repeated (Debian policy 12.5)."""
    for name, whole in _COMMON.items():
        text = re.sub(whole, f"(the whole text: /usr/share/common-licenses/{name})", text, flags=re.DOTALL)
    return text


def _classified(classifiers: list[str]) -> str:
    return ", ".join(one.rsplit(" :: ", 1)[-1] for one in classifiers if one.startswith("License :: "))


def _indented(text: str) -> str:
    return "\n".join(f" {line.rstrip()}" if line.strip() else " ." for line in text.splitlines())
