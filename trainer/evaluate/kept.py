"""`evaluation.json` on disk."""

from __future__ import annotations

from pathlib import Path

import msgspec

from contracts.decode import decoded
from contracts.errors import DatasetError, MissingError
from contracts.files import read_file, write_file
from trainer.evaluate.figures import Evaluation
from trainer.fits.record import Fits
from trainer.versions import EVALUATION as CODE
from trainer.versions import code_digest, library_versions

EVALUATION = "evaluation.json"


def save_evaluation(evaluation: Evaluation, out: Path) -> None:
    """Raises `StorageError`."""
    write_file(out / EVALUATION, msgspec.json.format(msgspec.json.encode(evaluation), indent=1))


def kept_evaluation(fits: Fits, out: Path) -> Evaluation | None:
    """The evaluation of the same fits by the same code and libraries that an earlier run left, if it did."""
    try:
        found = load_evaluation(out)
    except (MissingError, DatasetError):
        return None
    same = (found.fits, found.versions, found.code) == (fits.digest, library_versions(), code_digest(*CODE))
    return msgspec.structs.replace(found, command=fits.command) if same else None


def load_evaluation(out: Path) -> Evaluation:
    """Raises `MissingError`, `DatasetError`."""
    path, wrote = out / EVALUATION, "what `trainer evaluate` wrote"
    return decoded(read_file(path), Evaluation, path, DatasetError, expected=wrote, remedy="evaluate again")
