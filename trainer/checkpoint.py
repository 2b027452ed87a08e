"""Checkpoints: a model's weights and a stamp that says what they belong to."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from contracts.errors import DatasetError, DigestError, StorageError
from contracts.features import FeatureSchema, require_schema
from contracts.telemetry.storage import read_file, sha256, write_file
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
    versions: dict[str, str]


class _Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The stamp, and the sha256 of every file beside it."""

    stamp: Stamp
    files: dict[str, str]


def save_checkpoint(model: Model, stamp: Stamp, folder: Path) -> None:
    """Weights first, the stamp last: a checkpoint without one is no checkpoint. Raises `StorageError`."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        model.save(folder)
        files = {path.name: sha256(path.read_bytes()) for path in sorted(folder.iterdir())}
    except OSError as error:
        raise StorageError(
            folder, f"cannot be written ({error.strerror})", expected="space for weights", remedy="free some"
        ) from None
    write_file(
        folder / STAMP, msgspec.json.format(msgspec.json.encode(_Checkpoint(stamp=stamp, files=files)), indent=1)
    )


def read_stamp(folder: Path) -> Stamp:
    """What a checkpoint says of itself, once its files have been found whole. Raises as `load_checkpoint` does."""
    try:
        found = msgspec.json.decode(read_file(folder / STAMP), type=_Checkpoint)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DatasetError(folder / STAMP, str(error), expected="a checkpoint's stamp", remedy="fit it again") from None
    for name, digest in found.files.items():
        # before the library that reads it: a changed booster can crash XGBoost
        if sha256(read_file(folder / Path(name).name)) != digest:
            raise DigestError(folder / name, "other bytes", expected=f"sha256 {digest[:12]}…", remedy="fit it again")
    return found.stamp


def load_checkpoint(architecture: Architecture, folder: Path, schema: FeatureSchema, stamp: Stamp) -> Model:
    """The model of a checkpoint that fits `stamp`.

    Raises `MissingError` if there is none, `DigestError`, `SchemaMismatchError`, `DatasetError` for any other
    difference.
    """
    found = read_stamp(folder)
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
