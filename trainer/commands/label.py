"""`trainer label`."""

from __future__ import annotations

import argparse
import datetime
import re
from pathlib import Path
from typing import Any

from contracts.features.schema import SECOND
from contracts.moments import unix_ns
from contracts.shell.cli import print_json
from contracts.vocabulary import PHASES, Phase
from trainer.commands.options import Commands

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "label",
        help="show or correct the labels of one episode",
        description="Show when each phase of an episode begins. With --set the labels are replaced, in one go: all\n"
        "phases, each by seconds since the episode's start or by a time (ISO 8601, UTC where it names no zone). Rows\n"
        "are not touched. Also for a recording of `edge run --tee`, which has no labels yet. Validate the store again\n"
        "afterwards.",
        example="trainer label recordings/pi-1/g1-1 --set 0=clean 34.5=armed 61=infecting",
    )
    parser.add_argument("episode", type=Path, metavar="EPISODE", help="its folder, <store>/<host_id>/<episode_id>")
    parser.add_argument("--set", nargs="+", type=_start, metavar="WHEN=PHASE", help=f"PHASE: {', '.join(PHASES)}")
    parser.add_argument("--profile", type=_name, metavar="P", help="another family of behaviour")
    parser.add_argument("--sample", type=_name, metavar="S", help="another variant within it")
    parser.add_argument("--json", action="store_true", help="print the labels as JSON")
    parser.set_defaults(work=_label)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not made of letters, digits, dots, dashes and underscores")
    return text


def _start(text: str) -> tuple[float | int, Phase]:
    """`34.5=armed`, `2026-01-31T12:00:00Z=armed`: seconds as a float, a moment as whole Unix ns."""
    when, _, phase = text.rpartition("=")
    found = next((one for one in PHASES if one == phase), None)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} names no phase; expected WHEN=PHASE, and of {', '.join(PHASES)}")
    try:
        seconds = float(when)
        if 0 <= seconds < 1e8:
            return seconds, found
    except ValueError:
        pass
    try:
        return unix_ns(when), found
    except ValueError:
        raise argparse.ArgumentTypeError(f"{when!r} is neither seconds since the start nor a time") from None


def _label(options: argparse.Namespace) -> int:
    from contracts.telemetry.episode import read_manifest
    from contracts.telemetry.labels import read_labels, relabel

    folder: Path = options.episode
    manifest = read_manifest(folder)
    if options.set or options.profile or options.sample:
        started = manifest.started_wall_ns
        starts = [(label.t_wall_ns, label.phase) for label in read_labels(folder, manifest)]
        if options.set:
            starts = [(_ns(when, started), phase) for when, phase in options.set]
        manifest = relabel(folder, starts, profile=options.profile, sample=options.sample)
    labels = read_labels(folder, manifest)
    ends = [*(label.t_wall_ns for label in labels[1:]), manifest.ended_wall_ns][: len(labels)]
    found: list[dict[str, Any]] = [
        {
            "phase": label.phase,
            "since_s": (label.t_wall_ns - manifest.started_wall_ns) / SECOND,
            "seconds": (end - label.t_wall_ns) / SECOND,
            "t_wall_ns": label.t_wall_ns,
        }
        for label, end in zip(labels, ends, strict=True)
    ]
    if options.json:
        print_json({"profile": manifest.profile, "sample_name": manifest.sample_name, "labels": found})
        return 0
    seconds = (manifest.ended_wall_ns - manifest.started_wall_ns) / SECOND
    print(f"{manifest.host_id}/{manifest.episode_id}: {manifest.profile} {manifest.sample_name}, {seconds:.1f} s")
    for one in found:
        at = datetime.datetime.fromtimestamp(one["t_wall_ns"] / SECOND, datetime.UTC)
        print(f"  {one['since_s']:9.3f}={one['phase']:17s} {at:%Y-%m-%dT%H:%M:%S}Z, for {one['seconds']:.1f} s")
    if not found:
        print("  no labels: give it some with --set")
    return 0


def _ns(when: float | int, started_ns: int) -> int:
    return when if isinstance(when, int) else started_ns + round(when * SECOND)
