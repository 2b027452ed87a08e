"""Checkpoints: a model's weights and a stamp that says what they belong to."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from contracts.errors import DatasetError
from contracts.features import FeatureSchema, require_schema
from contracts.telemetry.storage import read_file, write_file
from trainer.architectures import Architecture, Model

STAMP = "checkpoint.json"


class Stamp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a checkpoint was fitted to. Two models with one stamp are the same model."""

    architecture: str
    version: int
    schema_hash: str
    dataset_digest: str
    split_digest: str
    channels: tuple[str, ...]
    seed: int
    quick: bool


def save_checkpoint(model: Model, stamp: Stamp, folder: Path) -> None:
    """Weights first, the stamp last: a checkpoint without one is no checkpoint."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.save(folder)
    write_file(folder / STAMP, msgspec.json.format(msgspec.json.encode(stamp), indent=1))


def load_checkpoint(architecture: Architecture, folder: Path, schema: FeatureSchema, stamp: Stamp) -> Model:
    """The model of a checkpoint that fits `stamp`.

    Raises `MissingError` if there is none, `SchemaMismatchError`, `DatasetError` for any other difference.
    """
    try:
        found = msgspec.json.decode(read_file(folder / STAMP), type=Stamp)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DatasetError(folder / STAMP, str(error), expected="a checkpoint's stamp", remedy="fit it again") from None
    require_schema(found.schema_hash, schema, folder / STAMP)
    for field in Stamp.__struct_fields__:
        if getattr(found, field) != getattr(stamp, field):
            raise DatasetError(
                folder / STAMP,
                f"{field} {_short(getattr(found, field))}",
                expected=_short(getattr(stamp, field)),
                remedy="fit it again",
            )
    return architecture.load(folder)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) < 40 else f"{text[:12]}…"
