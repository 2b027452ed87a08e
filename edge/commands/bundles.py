"""`edge install`, `rollback`, `promote`, `dismiss`, `status` and `self-test`: their options."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.commands.options import Commands, add_site


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "install",
        help="make a bundle the one that runs",
        description="Verify a bundle (signature, digests, feature schema), copy it beside the one in use, run its\n"
        "golden vectors through the runtime that it will use here, and only then switch, in one step. A running agent\n"
        "takes it between two windows. It is on trial for its first windows: an agent returns to the last good bundle\n"
        "by itself if this one cannot be opened, ends the agent, or is late. Root works as the owner of the state\n"
        "folder, so that the agent can go on with what was installed.",
        example="edge install gbt-realistic-86ac36ed4e68.bundle --trust keys",
    )
    parser.add_argument(
        "bundle", metavar="BUNDLE", help="a .bundle file, a folder (its newest), or an address (https://…)"
    )
    parser.add_argument(
        "--once", action="store_true", help="do nothing if it was installed here before, as what looks again and again"
    )
    parser.add_argument(
        "--shadow", action="store_true", help="let it ride along: its predictions are published, and decide nothing"
    )
    parser.add_argument("--allow-unsigned", action="store_true", help="accept one that no trusted key signed")
    add_site(parser)
    parser.set_defaults(work=_install)

    parser = commands.add_parser(
        "rollback",
        help="return to the bundle before",
        description="Verify and self-test the previous bundle again, and make it the current one; once more undoes it.",
        example="edge rollback",
    )
    add_site(parser)
    parser.set_defaults(work=_rollback)

    parser = commands.add_parser(
        "promote",
        help="make the shadow the bundle that runs",
        description="The shadow is verified and self-tested again and becomes the current bundle, on trial like any\n"
        "new one; the current one becomes the previous.",
        example="edge promote",
    )
    add_site(parser)
    parser.set_defaults(work=_promote)

    parser = commands.add_parser(
        "dismiss",
        help="end the shadow",
        description="End the shadow: it looks at no more windows.",
        example="edge dismiss",
    )
    add_site(parser)
    parser.set_defaults(work=_dismiss)

    parser = commands.add_parser(
        "status",
        help="what is installed here",
        description="The current bundle, the one before and the shadow, each verified and opened as an agent would:\n"
        "in a process of its own first, so that one that crashes is shown like any other that cannot run here.\n"
        "Exit status 1 if one of them could not run.",
        example="edge status --json",
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    add_site(parser)
    parser.set_defaults(work=_status)

    parser = commands.add_parser(
        "self-test",
        help="run a bundle's golden vectors here",
        description="Verify a bundle and run its golden vectors through the runtime that it would use here, in a\n"
        "process of its own first. Nothing is installed.",
        example="edge self-test gbt-realistic-86ac36ed4e68.bundle --trust keys",
    )
    parser.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE", help="a file (default: the installed one)")
    parser.add_argument("--allow-unsigned", action="store_true", help="accept one that no trusted key signed")
    add_site(parser)
    parser.set_defaults(work=_self_test)


def _install(options: argparse.Namespace) -> int:
    from edge.commands.installed import install_bundle

    return install_bundle(options)


def _rollback(options: argparse.Namespace) -> int:
    from edge.commands.installed import roll_back

    return roll_back(options)


def _promote(options: argparse.Namespace) -> int:
    from edge.commands.installed import promote_shadow

    return promote_shadow(options)


def _dismiss(options: argparse.Namespace) -> int:
    from edge.commands.installed import dismiss_shadow

    return dismiss_shadow(options)


def _status(options: argparse.Namespace) -> int:
    from edge.commands.installed import status

    return status(options)


def _self_test(options: argparse.Namespace) -> int:
    from edge.commands.installed import self_test

    return self_test(options)
