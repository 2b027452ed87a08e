"""Checkpoints: a model's weights and a stamp that says what they belong to."""

from __future__ import annotations

import glob
import secrets
import shutil
from pathlib import Path

import msgspec

from contracts.decode import decoded
from contracts.errors import DatasetError, DigestError, StorageError
from contracts.features.schema import FeatureSchema, require_schema
from contracts.files import read_file, sha256, write_file
from trainer.architectures.architecture import Architecture, Model, Settings
from trainer.curves import Curves

STAMP = "checkpoint.json"


class Stamp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a checkpoint was fitted to. Two models with one stamp are the same model."""

    architecture: str
    version: int
    schema_hash: str
    dataset_digest: str
    split_digest: str
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    seed: int
    quick: bool
    settings: Settings
    versions: dict[str, str]
    code: str


class _Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The stamp, how the fit went, and the sha256 of every file beside it."""

    stamp: Stamp
    curves: Curves
    files: dict[str, str]


def save_checkpoint(model: Model, curves: Curves, stamp: Stamp, folder: Path) -> None:
    """Write a checkpoint beside the one that is there, and put it in its place when it is whole.

    Raises `StorageError`; the one that was there is then untouched.
    """
    made, before = None, folder.with_name(f".{folder.name}.before")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _tidy(folder, before)
        part = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.part")
        part.mkdir()
        made = part
        model.save(made)
        files = {path.name: sha256(path.read_bytes()) for path in sorted(made.iterdir())}
        whole = _Checkpoint(stamp=stamp, curves=curves, files=files)
        write_file(made / STAMP, msgspec.json.format(msgspec.json.encode(whole), indent=1))
        if folder.exists():
            folder.rename(before)
        made.rename(folder)
    except OSError as error:
        raise StorageError(
            folder, f"cannot be written ({error.strerror})", expected="space for weights", remedy="free some"
        ) from None
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
        _tidy(folder, before)


def _tidy(folder: Path, before: Path) -> None:
    """What a killed save left: half of a checkpoint, and the one before, put back if none took its place."""
    for part in folder.parent.glob(f".{glob.escape(folder.name)}.*.part"):
        shutil.rmtree(part, ignore_errors=True)
    if before.exists() and not folder.exists():
        before.rename(folder)
    shutil.rmtree(before, ignore_errors=True)


def _read(folder: Path) -> _Checkpoint:
    path = folder / STAMP
    found = decoded(
        read_file(path), _Checkpoint, path, DatasetError, expected="a checkpoint's stamp", remedy="fit it again"
    )
    for name, digest in found.files.items():
        # before the library that reads it: a changed booster can crash XGBoost
        if sha256(read_file(folder / Path(name).name)) != digest:
            raise DigestError(folder / name, "other bytes", expected=f"sha256 {digest[:12]}…", remedy="fit it again")
    return found


def read_stamp(folder: Path) -> Stamp:
    """What a checkpoint says of itself, once its files have been found whole. Raises as `load_checkpoint` does."""
    return _read(folder).stamp


def read_curves(folder: Path) -> Curves:
    """How its fit went. Raises as `load_checkpoint` does."""
    return _read(folder).curves


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
