"""`trainer keygen`."""

from __future__ import annotations

import argparse
from pathlib import Path

from trainer.commands.options import Commands


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "keygen",
        help="make a key pair to sign bundles with",
        description="Make an Ed25519 key pair: FILE (mode 0600) signs; FILE with .pub goes into the trust folder of\n"
        "every Pi that is to run your bundles.",
        example="trainer keygen ~/lab.key && scp ~/lab.pub pi:/etc/phasewatch/trust/",
    )
    parser.add_argument("path", type=Path, metavar="FILE", help="the private key's file; it must not exist")
    parser.set_defaults(work=_keygen)


def _keygen(options: argparse.Namespace) -> int:
    from contracts.bundle.keys import generate_key

    public = generate_key(options.path)
    print(f"private: {options.path}\npublic:  {public}")
    return 0
