"""Why an episode is not simply accepted: one code per reason, each with its verdict, meaning and an example.

`python -m trainer.sweep.reasons docs/reasons.md` writes the page that documents them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import msgspec

from contracts.files import write_file
from contracts.shell.cli import Parser, run
from contracts.text import printable

Verdict = Literal["accepted", "degraded", "rejected", "errored"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""From best to worst: an episode has the worst verdict of its reasons."""


_LONGEST = 240


class Kind(msgspec.Struct, frozen=True):
    """A code's verdict, its meaning, and the detail of a real case."""

    verdict: Verdict
    meaning: str
    example: str


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One reason: `source` is a source, `labels`, or empty where the whole episode is meant."""

    code: str
    source: str
    detail: str


KINDS: dict[str, Kind] = {
    # could not be read
    "manifest-missing": Kind(
        "errored",
        "There is a folder and no `episode.json`: a recording that was broken off, or a copy of half of one.",
        "no such file",
    ),
    "unfinished": Kind(
        "errored",
        "A recording that goes on, or whose recorder ended without a word: its rows are there, and its end is not.",
        "recording.json is there, and no episode.json",
    ),
    "manifest-unreadable": Kind(
        "errored", "`episode.json` or the folder cannot be opened, or is a link.", "a symbolic link"
    ),
    "file-unreadable": Kind(
        "errored",
        "A listed file is there and cannot be opened: no permission, a link, no regular file.",
        "proc.jsonl.zst: cannot be opened (Permission denied)",
    ),
    "file-torn": Kind(
        "errored",
        "A compressed file has the promised digest and still ends too early, is damaged, is no zstd, or needs a "
        "dictionary.",
        "guest.jsonl.zst: ends in the middle of a zstd frame after 131072 bytes of rows",
    ),
    "worker-lost": Kind(
        "errored",
        "The process that read it ended without a word (want of memory, most likely), twice.",
        "its worker ended without a word",
    ),
    "failed": Kind("errored", "Something else went wrong while reading it.", "OSError: Input/output error"),
    # read, and not to be used
    "manifest-invalid": Kind(
        "rejected",
        "`episode.json` breaks its schema: no JSON, a field missing or there twice, over 31 days from its start to its "
        "end, two files of one source, or a file name that is none of ours (so none leaves the folder).",
        "Object missing required field `profile`",
    ),
    "misplaced": Kind(
        "rejected",
        "The folders are not called as `episode.json` says: one of them is wrong.",
        "host lab-a, episode e1, in the folder lab-b/e1",
    ),
    "duplicate-copy": Kind(
        "rejected",
        "The same episode, byte for byte, is there twice. The one with the best verdict is kept, or the first by path.",
        "the same as lab-a/e1",
    ),
    "duplicate-id": Kind(
        "rejected",
        "Episodes that differ have one id: sides and clusters go by the id, so none of them is used.",
        "lab-a/e1 has this id too",
    ),
    "duplicate-rows": Kind(
        "rejected",
        "The same recording under another id: its decoded rows are those of another episode, or most of them are, or "
        "both show one run of one guest at one time. The one with the best verdict is kept, or the first by path: with "
        "twins on two sides of a split a score would mean nothing.",
        "most rows are those of lab-a/e1",
    ),
    "file-missing": Kind("rejected", "A file that `episode.json` lists is not there.", "qmp.jsonl.zst: no such file"),
    "digest-mismatch": Kind(
        "rejected",
        "A file's SHA-256 or size is not what `episode.json` says.",
        "proc.jsonl.zst: sha256 61a1ad5b3ab2… over 35117 bytes",
    ),
    "row-invalid": Kind(
        "rejected",
        "A row breaks its schema: no JSON, no UTF-8, a field missing, unknown or there twice, a number that is "
        "negative, fractional, NaN or too large; or there are two rows on one line.",
        "qmp.jsonl.zst:7: Expected `int | null`, got `float` - at `$.rd_bytes`",
    ),
    "row-count": Kind(
        "rejected",
        "A file does not hold as many rows as `episode.json` says.",
        "proc.jsonl.zst: 1199 rows, 1200 expected",
    ),
    "bound": Kind(
        "rejected",
        "Larger than any honest recording: a file over 256 MiB, or over 1 GiB when expanded, a compression ratio over "
        "1000, more than 64 zstd frames with less than 64 bytes of rows in each, a zstd window over 128 MiB, a row "
        "over 64 KiB, over 1000 labels, over 20,000 windows, or rows by the thousand per second.",
        "netflow.jsonl.zst:1: over 65536 bytes",
    ),
    "labels-missing": Kind("rejected", "Nobody said which phase it was when.", "no labels file"),
    "labels-invalid": Kind(
        "rejected",
        "Labels that are not in order of time, or lie outside the episode.",
        "labels.jsonl.zst:3: infecting at 1760000090, not after the label before it",
    ),
    "clock-wrong": Kind(
        "rejected",
        "The wall clock was wrong when the recording began, or was set while it was made: the episode ends before it "
        "starts, or starts before the year 2000 and lasts for over 31 days; or a label is not after the one before it, "
        "or not inside the episode, though by the monotonic clock it is. Wait for the clock to be set (by NTP, say), "
        "then record it again.",
        "labels.jsonl.zst:3: infecting: the wall clock was set back by 30.000 s since the label before it",
    ),
    "phase-unknown": Kind(
        "rejected",
        "A label names a phase that is none of ours.",
        "labels.jsonl.zst:2: Invalid enum value 'asleep' - at `$.phase`",
    ),
    "clock-backwards": Kind(
        "rejected",
        "The monotonic clock of a source or of the labels went back, which it never does: rows are mixed up.",
        "by 3.200 s at row 412",
    ),
    "nothing-observed": Kind(
        "rejected",
        "No sampled source covers half of the episode.",
        "proc 12 %, qmp 0 %, guest 9 % of 118 s",
    ),
    "too-short": Kind(
        "rejected", "Not one whole window fits between the first label and the end.", "8.0 s, a window takes 10.0 s"
    ),
    # usable, and something is missing
    "source-missing": Kind("degraded", "A source was not recorded: its channels are not observed.", "no file of it"),
    "source-empty": Kind(
        "degraded", "A sampled source has a file and not one row: its channels are not observed.", "no row"
    ),
    "rows-few": Kind(
        "degraded",
        "Fewer rows than nine tenths of what the source's rate (proc and guest 10/s, qmp 2/s) gives for the duration.",
        "812 rows, 1180 expected",
    ),
    "coverage-low": Kind(
        "degraded",
        "Less than nine tenths of the episode lie between rows that are close enough to each other.",
        "71 % of 118 s",
    ),
    "gap": Kind(
        "degraded",
        "No row for longer than a value is held (proc and guest 1 s, qmp 2 s): windows there are not fully observed.",
        "3 gaps, the longest 4.2 s",
    ),
    "clock-step": Kind(
        "degraded",
        "The wall clock was set while the source was sampled: windows there are marked and not observed.",
        "by +3600.000 s at row 600",
    ),
    "clock-drift": Kind(
        "degraded",
        "Wall and monotonic clock of a source run apart by more than a thousandth: one of them stands still, or lies.",
        "118.200 s apart in 118 s",
    ),
    "rows-outside": Kind(
        "degraded",
        "Over a hundredth of a source's rows are stamped with times outside the episode.",
        "400 of 1200 rows",
    ),
    "netflow-clock": Kind(
        "degraded",
        "Flow records have another clock than the episode: over a tenth of those that arrived around a window cannot "
        "be of this time (they end before they start, last over a minute, or arrived before they ended or a minute "
        "after). They look like silence, so netflow is not observed in such a window, here and in the agent. "
        "It is said where more than a twentieth of the windows are such.",
        "in 22 of 22 windows",
    ),
    "netflow-silent": Kind(
        "degraded",
        "Before a window the tap counted 50 packets or more, and flow records of the guest's addresses hold less than "
        "four fifths of them, less 20: the exporter was away, or `guest_addresses` are not the guest's. What is not "
        "known is not silence, so netflow is not observed in such a window, here and in the agent. "
        "It is said where more than a twentieth of the windows are such.",
        "in 9 of 22 windows",
    ),
    "netflow-doubled": Kind(
        "degraded",
        "Before a window flow records hold over five quarters of the packets that the tap counted, and 20 more: "
        "records are there twice, so netflow is not observed in such a window, here and in the agent. "
        "It is said where more than a twentieth of the windows are such.",
        "in 17 of 22 windows",
    ),
    "impossible": Kind(
        "degraded",
        "Single flow records cannot be (they end before they start, last over a minute, arrived long before or after "
        "they ended, hold no packet, or name no address). They are left out and counted, here and in the agent. "
        "Readings of other sources are held to the same law by `extract`, which reads every field.",
        "1 of 110 records",
    ),
    "labels-late": Kind(
        "degraded",
        "The first label comes more than a second after the start; windows before it are not used.",
        "31.0 s after the start",
    ),
}
"""Every code. Detail lines in examples are as the sweep writes them."""


def brief(text: str) -> str:
    """Text from a file, on one line, printable and not too long: it goes into indexes and terminals."""
    line = " ".join(text.split())
    shown = printable(line[:_LONGEST])
    return shown if len(line) <= _LONGEST else f"{shown}…"


def worst(reasons: list[Reason]) -> Verdict:
    """The verdict on an episode with these reasons."""
    return max((KINDS[reason.code].verdict for reason in reasons), key=VERDICTS.index, default="accepted")


def page() -> str:
    """`docs/reasons.md`."""
    lines = [
        "# Verdicts and reason codes",
        "",
        "`trainer validate` gives every episode one verdict, the worst of its reasons. This page is made from",
        "`trainer/sweep/reasons.py` (`make schemas`); a test holds the two equal, and another plants every defect.",
        "",
    ]
    titles: dict[Verdict, str] = {
        "degraded": "usable; the reasons say what is missing",
        "rejected": "read, and not to be used",
        "errored": "could not be read",
    }
    for verdict, title in titles.items():
        lines += [f"## {verdict}: {title}", "", "| code | meaning | detail, for example |", "|---|---|---|"]
        lines += [_line(code, kind) for code, kind in KINDS.items() if kind.verdict == verdict]
        lines.append("")
    return "\n".join(lines)


def _line(code: str, kind: Kind) -> str:
    example = kind.example.replace("|", r"\|")  # which would end the cell
    return f"| `{code}` | {kind.meaning} | {example} |"


def command_line() -> Parser:
    """Its one argument."""
    parser = Parser(prog="python -m trainer.sweep.reasons", example="python -m trainer.sweep.reasons docs/reasons.md")
    parser.add_argument("page", type=Path, metavar="FILE", help="where to write it")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page; returns the exit status."""
    return run("reasons", _main, arguments)


def _main(arguments: Sequence[str]) -> int:
    write_file(command_line().parse_args(arguments).page, page().encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
