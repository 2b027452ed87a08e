"""`edge lab`: real guests that work by a plan, recorded and labelled."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from contracts.shell.cli import print_json
from edge.commands.options import Commands, seconds

_log = logging.getLogger("edge")


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "lab",
        help="record guests that work by a plan",
        description="Guests of our own, booted for the purpose: benign emulators of six profiles and of everyday\n"
        "work, at times that a recipe and a seed decide.",
        example="edge lab run --recipe firmware-config/lab/corpus.toml --out recordings",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    run = verbs.add_parser(
        "run",
        help="record what is missing of a plan",
        description="Record every episode of a plan that is not in the store yet, several guests at once, each in\n"
        "namespaces of its own with its own sink and exporter, under its own CPU quota. Needs root, QEMU, pmacct,\n"
        "iproute2, e2fsprogs, and the tiny guests (make lab-guests). Ctrl-C ends it in order; the next run goes on.\n"
        "Exit status 1 where episodes could not be recorded.",
        example="edge lab run --recipe firmware-config/lab/corpus.toml --seed 1 --out recordings",
    )
    _add_plan(run)
    run.add_argument("--out", type=Path, required=True, metavar="STORE", help="where episodes go")
    run.add_argument("--images", type=Path, default=Path("build/guests"), metavar="DIR",
                     help="tiny guests, as DIR/amd64 and DIR/arm64 (default: build/guests)")  # fmt: skip
    run.add_argument("--parallel", type=int, metavar="N", help="guests at once (default: as the recipe says)")
    run.add_argument(
        "--scratch", type=Path, metavar="DIR", help="for sockets and disks (default: the system's own place)"
    )
    run.add_argument(
        "--boot-timeout", type=seconds, metavar="S", help="how long a guest may take to boot (default: 180)"
    )
    run.set_defaults(work=_run)
    show = verbs.add_parser(
        "plan",
        help="show what a recipe and a seed make",
        description="The plan, episode by episode, without recording anything. The same recipe and seed give the same\n"
        "plan.",
        example="edge lab plan --recipe firmware-config/lab/corpus.toml --seed 1",
    )
    _add_plan(show)
    show.add_argument("--json", action="store_true", help="all of it, down to the orders, as JSON")
    show.set_defaults(work=_plan)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recipe", type=Path, required=True, metavar="FILE",
                        help="hosts, lengths and phases, such as firmware-config/lab/corpus.toml")  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of everything that is drawn (default: 1)")
    parser.add_argument("--episodes", type=int, metavar="N", help="only the first so many")


def _run(options: argparse.Namespace) -> int:
    from edge.lab.episode import BOOT_S
    from edge.lab.plan import plan
    from edge.lab.recipe import read_recipe
    from edge.lab.run import Lab

    recipe = read_recipe(options.recipe)
    planned = plan(recipe, options.seed)[: options.episodes]
    lab = Lab(
        store=options.out.absolute(),
        images=options.images.absolute(),
        work=None if options.scratch is None else options.scratch.absolute(),
        parallel=options.parallel or recipe.parallel,
        boot_s=options.boot_timeout or BOOT_S,
    )
    result = lab.run(planned)
    print(f"{options.out}: {len(result.recorded)} recorded, {result.there} were there, {len(result.failed)} failed")
    return 1 if result.failed else 0


def _plan(options: argparse.Namespace) -> int:
    from edge.lab.plan import plan
    from edge.lab.recipe import read_recipe

    planned = plan(read_recipe(options.recipe), options.seed)[: options.episodes]
    if options.json:
        print_json(planned)
        return 0
    for one in planned:
        phases = ", ".join(f"{mark.phase} {mark.at_ms / 1000:.0f} s" for mark in one.marks)
        print(f"{one.host.id}/{one.episode_id} {one.profile} {one.sample_name} {one.length_ms / 1000:.0f} s: {phases}")
    hours = sum(one.length_ms for one in planned) / 3.6e6
    print(f"{len(planned)} episodes, {hours:.1f} h")
    return 0
