"""`edge audit`."""

from __future__ import annotations

import argparse
import sys
import time

from contracts.shell.cli import print_json
from contracts.text import printable
from edge.commands.options import Commands, add_broker, broker_of, node, seconds


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "audit",
        help="prove that no event is missing, or say which",
        description="Subscribe to what agents send, and follow the sequence numbers of each source: what is missing,\n"
        "repeated, late, under another's number, or breaks its schema is said as it happens, and at the end (Ctrl-C)\n"
        "there is a report as JSON. A gap that an agent has told itself (its outbox was full, the broker refused)\n"
        "counts as known. Exit status 1 if anything is missing that nobody has told, or breaks its schema.",
        example="edge audit --broker mqtt://127.0.0.1:1883 --seconds 3600",
    )
    add_broker(parser)
    parser.add_argument("--node", type=node, metavar="NAME", help="of this node alone (default: of all)")
    parser.add_argument("--seconds", type=seconds, metavar="S", help="end after so long")
    parser.add_argument("--idle", type=seconds, metavar="S", help="end once nothing has come for so long")
    parser.set_defaults(work=_audit)


def _audit(options: argparse.Namespace) -> int:
    from edge.audit.ear import Ear
    from edge.audit.streams import Auditor

    auditor, ear = Auditor(), Ear(broker_of(options), [f"phasewatch/{options.node or '+'}/+/+"], _say)
    ear.connect()
    began = last = time.monotonic()
    try:
        while not _over(options, time.monotonic() - began, time.monotonic() - last):
            for heard in ear.listen(0.2):
                last = time.monotonic()
                for finding in auditor.hear(heard.topic, heard.payload, retained=heard.retained):
                    _say(str(finding))
    except KeyboardInterrupt:
        pass  # the report is what was asked for
    finally:
        ear.close()
        report = auditor.report()
        print_json(report)  # what was heard is told, however it ends
    return int(not report.whole)


def _over(options: argparse.Namespace, ran_s: float, idle_s: float) -> bool:
    return any(most is not None and now >= most for most, now in ((options.seconds, ran_s), (options.idle, idle_s)))


def _say(line: str) -> None:
    print(printable(line)[:500], file=sys.stderr, flush=True)
