"""One line of `edge doctor`."""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["ok", "note", "fault"]
"""note: it works, and something of it is missing. fault: it does not work."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What was looked at, what was found, and what to do about it (empty where nothing is)."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        mark = {"ok": "ok   ", "note": "note ", "fault": "FAULT"}[self.verdict]
        return f"{mark} {self.name:<18} {self.found}{f'; {self.remedy}' if self.remedy else ''}"


def ok(name: str, found: str) -> Step:
    """It works."""
    return Step(name=name, verdict="ok", found=found)


def note(name: str, found: str, remedy: str) -> Step:
    """It works, but not all of it."""
    return Step(name=name, verdict="note", found=found, remedy=remedy)


def fault(name: str, found: str, remedy: str) -> Step:
    """It does not work."""
    return Step(name=name, verdict="fault", found=found, remedy=remedy)
