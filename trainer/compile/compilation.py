"""What the compile stage found, as it stands in `candidates.json`: the report shows these figures and no others."""

from __future__ import annotations

from pathlib import Path

import msgspec

from contracts.decode import decoded
from contracts.errors import DatasetError
from contracts.events.payloads import Interval
from contracts.files import read_file, write_file
from trainer.compile.candidate import Facts

CANDIDATES = "candidates.json"


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Judged(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One candidate in one runtime: a window's time in ms, and how it compares with its model on the held-out side.

    difference, tail: candidate less model, of macro F1 and of true positives at 1 % false ones (None where the classes
    do not speak of infection); calibration: of the expected error, each after its own temperature. refused: why it may
    not ship; nothing if it may.
    """

    runtime: str
    p50_ms: float
    p99_ms: float
    argmax_agreement: float
    max_probability_difference: float
    macro_f1: float
    difference: Interval
    tail: Interval | None
    calibration: float
    refused: tuple[str, ...]


class Tried(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One candidate. size: bytes of the artifact that runs here; verdict: why it ships, or does not."""

    form: str
    small: bool
    size: int | None
    facts: Facts | None
    judged: tuple[Judged, ...]
    ships: bool
    verdict: str


class Compilation(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model's candidates, the largest first; refused: why none of them ships. notes: what a reader must know."""

    title: str
    tried: tuple[Tried, ...]
    refused: str | None
    notes: tuple[str, ...] = ()


class Compilations(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`candidates.json`. fits: digest of the fits that the models came from; machine: where times were taken."""

    format: str = "phasewatch candidates 1"
    fits: str
    machine: str
    models: tuple[Compilation, ...]


def save_compilations(found: Compilations, out: Path) -> None:
    """Raises `StorageError`."""
    write_file(out / CANDIDATES, msgspec.json.format(msgspec.json.encode(found), indent=1))


def load_compilations(out: Path) -> Compilations | None:
    """None where nothing was compiled yet. Raises `DatasetError` for a file that does not read."""
    if not (out / CANDIDATES).exists():
        return None
    path, wrote = out / CANDIDATES, "what `trainer build` wrote"
    return decoded(read_file(path), Compilations, path, DatasetError, expected=wrote, remedy="build again")
